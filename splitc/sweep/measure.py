# SPDX-License-Identifier: Apache-2.0
"""Sweeps that are really run: a bundle's routes under each condition, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated

import msgspec
import numpy as np

from splitc.build.compiler import compile
from splitc.build.job import EMIT
from splitc.build.route_spec import RouteSpec
from splitc.bundle.samples import seeded_inputs
from splitc.cost.board import why_not_here
from splitc.errors import DeviceError, UsageError
from splitc.ir.model import Network
from splitc.scratch import scratch
from splitc.search.condition_plan import ConditionPlan
from splitc.search.grid import Point
from splitc.sweep.actors import Trial
from splitc.sweep.journal import Journal
from splitc.sweep.rig import Rig

FRAMES = 11
"""Frames of each route that count, where nobody says how many."""
_SEED = 0


class _Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A condition in the journal: medians of the routes, or why there are none."""

    seconds: list[Annotated[float, msgspec.Meta(ge=0)]] = []
    why: str = ""


def measure_plan(
    plan: ConditionPlan,
    network: Network,
    points: Sequence[Point],
    journal: Journal,
    frames: int = FRAMES,
    begins: Callable[[str], None] = lambda step: None,
    emit: str = EMIT,
) -> ConditionPlan:
    """The plan with its routes' times as they are here under each condition.

    The routes are compiled into one bundle. Device and server are processes on cores of their
    own, the link is the relay, stress is processes beside the device; conditions that cannot be
    had are named.

    Args:
        plan: Whose routes; its boards have to be this machine.
        network: What it is of.
        points: The conditions.
        journal: What is done already, and is added to.
        frames: Frames of each route that count: the medians of their times are taken.
        begins: Called with the name of each step.
        emit: What writes the bundle's parts: see `splitc.compile`.

    Raises:
        UsageError: A board is another machine; fewer than one frame; or the journal is damaged.
        DeviceError: No condition could be measured.
        SplitcError: The bundle cannot be compiled.
    """
    if frames < 1:
        raise UsageError(f"{frames} frames", hint="one at least")
    _refuse_others(plan)
    rig = Rig.here()
    done = {point: _read(value, len(plan.names)) for point, value in journal.known.items()}
    left = [point for point in points if point not in done]
    if left:
        with scratch() as place:
            begins("compiling the routes")
            bundle = _compiled(plan, network, place, emit)
            inputs = seeded_inputs(
                network.graph.inputs, _SEED, network.index_extents, network.settled
            )
            trial = Trial(
                bundle, "", len(plan.names), frames, 1.0, plan.scenario.link.mtu_bytes, inputs
            )
            with rig.serving(bundle) as server:
                for number, point in enumerate(left):
                    begins(f"condition {len(points) - len(left) + number + 1}: {point}")
                    try:
                        found = rig.measure(trial, server, point, plan.scenario.link)
                        done[point] = _Done([median(each) for each in found])
                    except DeviceError as error:
                        done[point] = _Done(why=": ".join(filter(None, (error.what, error.why))))
                    journal.add(point, done[point])
    return _of(plan, points, done, f"measured here: {rig}; {_HOW}; medians of {frames} frames")


_HOW = (
    "CPU stress by a loading process beside the device; memory stress by one that copies; "
    "the link is a relay"
)


def _refuse_others(plan: ConditionPlan) -> None:
    for board in (plan.scenario.head.board, plan.scenario.tail.board):
        core = board.processor
        why = why_not_here(core.isa, core.cpu, core.features)
        if why:
            hint = "measure with --target host --tail-target host"
            raise UsageError(f"'{board.name}' cannot be measured here", why=why, hint=hint)


def _compiled(plan: ConditionPlan, network: Network, place: Path, emit: str) -> str:
    """A bundle of the plan's routes."""
    routes = zip(plan.carried.cuts, plan.names, strict=True)
    specs = [RouteSpec(cut.layers, name=name) for cut, name in routes]
    made = compile(
        network, cuts=specs, scenario=plan.scenario, emit=emit, output=place / "plan.splitc"
    )
    return str(made.path)


def _read(value: object, routes: int) -> _Done:
    try:
        found = value if isinstance(value, _Done) else msgspec.convert(value, _Done)
    except msgspec.ValidationError as error:
        raise UsageError("the unfinished sweep is damaged", why=str(error)) from error
    if not found.why and len(found.seconds) != routes:
        why = f"{len(found.seconds)} times of {routes} routes"
        raise UsageError("the unfinished sweep is damaged", why=why)
    return found


def _of(
    plan: ConditionPlan, points: Sequence[Point], done: dict[Point, _Done], figures: str
) -> ConditionPlan:
    had = [point for point in points if not done[point].why]
    skipped = [(point, done[point].why) for point in points if done[point].why]
    if not had:
        point, why = skipped[0]
        raise DeviceError("no condition could be measured", at=str(point), why=why)
    times = np.array([done[point].seconds for point in had])
    return plan.measured(had, times, figures, skipped)
