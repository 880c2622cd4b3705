# SPDX-License-Identifier: Apache-2.0
"""Limits that a cut must keep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from splitc.cost.prices import CutCost
from splitc.errors import UsageError
from splitc.ir.cut import Cut


class Broken(NamedTuple):
    """A limit that a cut does not keep.

    Args:
        option: The limit, as the command line has it.
        needs: What the cut has.
        limit: What it may have at most; of `--min-depth` at least.
        words: Both, for people.
        enough: What the option would have to say.
    """

    option: str
    needs: float
    limit: float
    words: str
    enough: str

    @property
    def excess(self) -> float:
        """How far the limit is missed, as a share of it."""
        return abs(self.needs - self.limit) / self.limit

    @property
    def off(self) -> str:
        """The same in words."""
        if self.needs >= 10 * self.limit:
            return f"{self.needs / self.limit:,.0f} times the limit"
        return f"{self.excess:.0%} {'over' if self.needs > self.limit else 'short'}"


@dataclass(frozen=True)
class Constraints:
    """Limits a cut must keep.

    Args:
        max_head_bytes: Weights plus live activations on the device.
        max_head_s: Seconds of the head on the device.
        max_boundary_bytes: Bytes that cross the link.
        min_depth: Layers that must run on the device at least.

    Raises:
        UsageError: A limit that nothing, or anything, keeps.
    """

    max_head_bytes: int | None = None
    max_head_s: float | None = None
    max_boundary_bytes: int | None = None
    min_depth: int = 0

    def __post_init__(self) -> None:
        if self.max_head_bytes is not None and self.max_head_bytes <= 0:
            raise UsageError("the head's memory limit must be above zero")
        if self.max_boundary_bytes is not None and self.max_boundary_bytes <= 0:
            raise UsageError("the limit of what crosses must be above zero")
        if self.max_head_s is not None and not 0 < self.max_head_s < float("inf"):
            raise UsageError("the head's time limit must be above zero")
        if self.min_depth < 0:
            raise UsageError("the least number of head layers must not be negative")

    def broken(self, cut: Cut, cost: CutCost) -> tuple[Broken, ...]:
        """The limits that a cut does not keep, each with what it has and what it may have."""
        found: list[Broken] = []
        for option, what, has, limit in (
            ("--max-head-memory", "head needs", cost.head_peak_bytes, self.max_head_bytes),
            ("--max-boundary-bytes", "there cross", cost.boundary_bytes, self.max_boundary_bytes),
        ):
            if limit is not None and has > limit:
                words = f"{what} {has:,} bytes, limit {limit:,}"
                found.append(Broken(option, has, limit, words, str(has)))
        if self.max_head_s is not None and cost.head_s > self.max_head_s:
            has_ms, limit_ms = cost.head_s * 1e3, self.max_head_s * 1e3
            words = f"head takes {has_ms:.1f} ms, limit {limit_ms:g} ms"
            enough = f"{math.ceil(has_ms * 10) / 10:g}"
            found.append(Broken("--max-head-ms", has_ms, limit_ms, words, enough))
        if cut.depth < self.min_depth:
            words = f"head has {cut.depth} layers, at least {self.min_depth} wanted"
            found.append(Broken("--min-depth", cut.depth, self.min_depth, words, str(cut.depth)))
        return tuple(found)

    def why_not(self, cut: Cut, cost: CutCost) -> str | None:
        """The first limit that a cut breaks, in words; None where it keeps all."""
        broken = self.broken(cut, cost)
        return broken[0].words if broken else None
