# SPDX-License-Identifier: Apache-2.0
"""What staying costs: the cut of one condition kept under another, against the best one there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from splitc.search.grid import Point
from splitc.search.sweep import Sweep

Factor = Literal["bandwidth", "cpu", "memory"]
FACTORS: tuple[Factor, ...] = get_args(Factor)
"""What changes, one table each; the rest of the device is idle, over every bandwidth."""


@dataclass(frozen=True)
class Transition:
    """One condition becomes another.

    Args:
        before: The condition that the kept cut is best under.
        after: The condition now.
        kept: Place of that cut among the sweep's.
        best: Place of the quickest now.
        kept_s: What the kept one takes now.
        best_s: What the quickest takes now.
    """

    before: Point
    after: Point
    kept: int
    best: int
    kept_s: float
    best_s: float

    @property
    def gain(self) -> float:
        """Share of the kept cut's time that moving saves."""
        return 1.0 - self.best_s / self.kept_s if self.kept_s > 0 else 0.0

    def break_even(self, switch_s: float) -> int | None:
        """Frames after which moving has paid for the switch; None where it never does."""
        saved_s = self.kept_s - self.best_s
        return max(1, math.ceil(switch_s / saved_s)) if saved_s > 0 else None


def transition(swept: Sweep, before: Point, after: Point) -> Transition:
    """What becomes of the best cut of one condition under another."""
    now = swept.at[after]
    kept, best = int(swept.best[swept.at[before]]), int(swept.best[now])
    times = swept.latency_s[now]
    return Transition(before, after, kept, best, float(times[kept]), float(times[best]))


def transitions(swept: Sweep, factor: Factor) -> list[Transition]:
    """Every change of one factor, the others as they are.

    Of the bandwidth on a device that is as idle as the grid has it; of the device's stress over
    each bandwidth, the other stress as small as the grid has it.
    """
    number = Point._fields.index("bandwidth_bps" if factor == "bandwidth" else factor)
    still = [k for k in (0, 1) if k != number]
    idle = {k: min(point[k] for point in swept.points) for k in still}
    some = [point for point in swept.points if all(point[k] == idle[k] for k in still)]
    return [
        transition(swept, before, after)
        for before in some
        for after in some
        if before != after and _same_but(before, after, number)
    ]


def _same_but(before: Sequence[float], after: Sequence[float], number: int) -> bool:
    return all(a == b for k, (a, b) in enumerate(zip(before, after, strict=True)) if k != number)
