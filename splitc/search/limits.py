# SPDX-License-Identifier: Apache-2.0
"""Limits that a cut must keep."""

from __future__ import annotations

from dataclasses import dataclass

from splitc.cost.prices import CutCost
from splitc.errors import UsageError
from splitc.ir.cut import Cut


@dataclass(frozen=True)
class Constraints:
    """Limits a cut must keep.

    Args:
        max_head_bytes: Weights plus live activations on the device.
        max_head_s: Seconds of the head on the device.
        min_depth: Layers that must run on the device at least.

    Raises:
        UsageError: A limit that nothing, or anything, keeps.
    """

    max_head_bytes: int | None = None
    max_head_s: float | None = None
    min_depth: int = 0

    def __post_init__(self) -> None:
        if self.max_head_bytes is not None and self.max_head_bytes <= 0:
            raise UsageError("the head's memory limit must be above zero")
        if self.max_head_s is not None and not 0 < self.max_head_s < float("inf"):
            raise UsageError("the head's time limit must be above zero")
        if self.min_depth < 0:
            raise UsageError("the least number of head layers must not be negative")

    def why_not(self, cut: Cut, cost: CutCost) -> str | None:
        """The limit that a cut breaks, in words; None where it keeps all."""
        if self.max_head_bytes is not None and cost.head_peak_bytes > self.max_head_bytes:
            return f"head needs {cost.head_peak_bytes:,} bytes, limit {self.max_head_bytes:,}"
        if self.max_head_s is not None and cost.head_s > self.max_head_s:
            return f"head takes {cost.head_s * 1e3:.1f} ms, limit {self.max_head_s * 1e3:g} ms"
        depth = cut.prefix + len(cut.extra) - cut.graph.input_count
        if depth < self.min_depth:
            return f"head has {depth} layers, at least {self.min_depth} wanted"
        return None
