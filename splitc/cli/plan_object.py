# SPDX-License-Identifier: Apache-2.0
"""What `splitc plan --conditions` prints with `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from splitc.cli.objects import Printed

if TYPE_CHECKING:
    from splitc.search.condition_plan import ConditionPlan
    from splitc.search.grid import Point
    from splitc.search.sweep import Sweep
    from splitc.search.transitions import Transition


class PointObject(msgspec.Struct, frozen=True, kw_only=True):
    """A condition: shares of the device that others take, and the link's bandwidth."""

    cpu: float
    memory: float
    bandwidth_bps: float

    @staticmethod
    def of(point: Point) -> PointObject:
        """A point of a grid."""
        return PointObject(**point._asdict())


class PlannedRouteObject(msgspec.Struct, frozen=True, kw_only=True):
    """A route that a bundle should have; how many conditions want it; its times where the
    device is idle."""

    name: str
    cut: tuple[str, ...]
    boundary_bytes: int
    head_ms: float
    tail_ms: float
    conditions: int


class PlannedConditionObject(PointObject, frozen=True, kw_only=True):
    """What a condition wants: of the routes, and of all cuts; all on one machine beside, which is
    null where times were measured, as the best of all cuts is."""

    route: str
    latency_ms: dict[str, float]
    best_cut: str | None
    best_ms: float | None
    device_ms: float | None
    server_ms: float | None


class TransitionObject(msgspec.Struct, frozen=True, kw_only=True):
    """A condition becomes another: the cut that was best, kept, against the best one now.

    `gain` is the share of the kept cut's time that moving saves; `break_even_frames` after how
    many moving has paid for the switch, null where it never does.
    """

    before: PointObject
    after: PointObject
    kept_cut: str
    kept_ms: float
    best_cut: str
    best_ms: float
    gain: float
    break_even_frames: int | None


class SkippedObject(PointObject, frozen=True, kw_only=True):
    """A condition that could not be measured, and why."""

    why: str


class PlanObject(Printed, frozen=True):
    """`splitc plan --conditions`: which cuts a bundle should carry, which one each condition
    wants, and what staying costs, by what changes; `file` is null where none was written."""

    figures: str
    looked_at: str
    switch_cost_s: float
    regret_ms: float
    regret_share: float
    exact: bool
    routes: tuple[PlannedRouteObject, ...]
    conditions: tuple[PlannedConditionObject, ...]
    transitions: dict[str, tuple[TransitionObject, ...]]
    skipped: tuple[SkippedObject, ...]
    file: str | None

    @staticmethod
    def of(plan: ConditionPlan, switch_s: float, file: str | None) -> PlanObject:
        """A plan."""
        return PlanObject(
            figures=plan.carried.figures,
            looked_at=plan.swept.kind,
            switch_cost_s=switch_s,
            regret_ms=plan.chosen.regret_s * 1e3,
            regret_share=plan.regret_share,
            exact=plan.chosen.exact,
            routes=_routes(plan),
            conditions=_conditions(plan),
            transitions=_transitions(plan, switch_s),
            skipped=tuple(
                SkippedObject(**point._asdict(), why=why) for point, why in plan.carried.skipped
            ),
            file=file,
        )


def _routes(plan: ConditionPlan) -> tuple[PlannedRouteObject, ...]:
    carried = plan.carried
    wanted = [int(place) for place in carried.best]
    return tuple(
        PlannedRouteObject(
            name=plan.names[k], cut=cut.layers, boundary_bytes=cost.boundary_bytes,
            head_ms=cost.head_s * 1e3, tail_ms=cost.tail_s * 1e3, conditions=wanted.count(k),
        )
        for k, (cut, cost) in enumerate(zip(carried.cuts, carried.costs, strict=True))
    )  # fmt: skip


def _conditions(plan: ConditionPlan) -> tuple[PlannedConditionObject, ...]:
    carried, swept = plan.carried, plan.swept
    return tuple(
        PlannedConditionObject(
            **point._asdict(),
            route=plan.names[int(carried.best[k])],
            latency_ms={
                name: float(seconds) * 1e3
                for name, seconds in zip(plan.names, carried.latency_s[k], strict=True)
            },
            **(_NOTHING if plan.is_measured else _all_cuts(swept, swept.at[point])),
        )
        for k, point in enumerate(carried.points)
    )


_NOTHING: dict[str, Any] = dict.fromkeys(("best_cut", "best_ms", "device_ms", "server_ms"))


def _all_cuts(swept: Sweep, at: int) -> dict[str, Any]:
    """What else is modelled of a condition."""
    assert swept.whole_s is not None
    best = int(swept.best[at])
    device_s, server_s = swept.whole_s[at]
    return {
        "best_cut": swept.cuts[best].name, "best_ms": float(swept.latency_s[at, best]) * 1e3,
        "device_ms": float(device_s) * 1e3, "server_ms": float(server_s) * 1e3,
    }  # fmt: skip


def _transitions(plan: ConditionPlan, switch_s: float) -> dict[str, tuple[TransitionObject, ...]]:
    from splitc.search.transitions import FACTORS, transitions

    compared = plan.compared

    def made(one: Transition) -> TransitionObject:
        return TransitionObject(
            before=PointObject.of(one.before), after=PointObject.of(one.after),
            kept_cut=compared.cuts[one.kept].name, kept_ms=one.kept_s * 1e3,
            best_cut=compared.cuts[one.best].name, best_ms=one.best_s * 1e3,
            gain=one.gain, break_even_frames=one.break_even(switch_s),
        )  # fmt: skip

    return {factor: tuple(map(made, transitions(compared, factor))) for factor in FACTORS}
