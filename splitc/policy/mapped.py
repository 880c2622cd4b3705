# SPDX-License-Identifier: Apache-2.0
"""The policy that reads its answers from a plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from splitc.errors import UsageError
from splitc.policy.base import Chooser, LinkState, Policy, option_named
from splitc.policy.option import Option
from splitc.policy.steady import Steady, check_hold
from splitc.search.plan_file import Condition, read_plan


@dataclass(frozen=True)
class Mapped(Policy):
    """The route that a plan of `splitc plan` has for the condition nearest to what is measured.

    Bandwidth and the device's load are held against the plan's, both as ratios: twice the
    bandwidth is as far away as half the processor. Memory stress is nothing that a device
    measures: of the plan's conditions those with the least count. How long another route has to
    be wanted: see `Steady`.

    Args:
        plan: Path of the plan.
        hold_s: Seconds for which a route with more bytes has to be wanted, and that lie between
            two changes at least.

    References:
        McNamee et al., "A Case for Adaptive Deep Neural Networks in Edge Computing", 2020,
        arXiv:2008.01814.
    """

    name: ClassVar[str] = "map"
    plan: str
    hold_s: float = 0.5

    def __post_init__(self) -> None:
        check_hold(self.hold_s)

    def start(self, options: Sequence[Option]) -> Chooser:
        """Begin with the route that was expected to be the best.

        Raises:
            UsageError: The plan cannot be read, or names a route that there is not.
        """
        plan = read_plan(Path(self.plan))
        known = [option.name for option in options]
        strange = next((one.route for one in plan.conditions if one.route not in known), None)
        if strange is not None:
            why = f"it wants the route '{strange}', which this bundle has not"
            hint = f"compile with --plan {self.plan}; the bundle has {', '.join(known)}"
            raise UsageError("the plan is not of this bundle", at=self.plan, why=why, hint=hint)
        least = min(one.memory for one in plan.conditions)
        points = [
            (one, option_named(one.route, options))
            for one in plan.conditions
            if one.memory == least
        ]
        first = min(options, key=lambda option: option.expected_s)
        return _Looking(points, Steady(first, self.hold_s))


class _Looking(Chooser):
    def __init__(self, points: Sequence[tuple[Condition, Option]], steady: Steady) -> None:
        self._points = points
        self._steady = steady

    def route(self, seen: LinkState, now: float) -> str:
        bandwidth_bps = seen.bandwidth_bps
        if bandwidth_bps is None:
            return self._steady.current.name

        def distance(point: tuple[Condition, Option]) -> float:
            one, _ = point
            # A device that is quicker than it was taken for is idle.
            load = max(seen.head_load, 1.0) * (1.0 - one.cpu)
            return abs(math.log2(bandwidth_bps / one.bandwidth_bps)) + abs(math.log2(load))

        return self._steady.take(min(self._points, key=distance)[1], now)
