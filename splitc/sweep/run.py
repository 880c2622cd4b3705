# SPDX-License-Identifier: Apache-2.0
"""A plan for conditions from beginning to end: swept, gone on with, written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from splitc.errors import OutputError
from splitc.ir.model import Network
from splitc.search.condition_plan import ConditionPlan, plan_for_conditions
from splitc.search.grid import Grid
from splitc.search.plan_file import write_plan
from splitc.search.scenario import Scenario
from splitc.search.sweep import Key, Search
from splitc.sweep.bests import Workers, find_bests
from splitc.sweep.journal import SUFFIX, Journal
from splitc.sweep.measure import measure_plan


def run_plan(
    network: Network,
    scenario: Scenario,
    grid: Grid,
    routes: int,
    output: Path | None = None,
    *,
    resume: bool = False,
    workers: Workers | None = None,
    frames: int = 0,
    begins: Callable[[str], None] = lambda step: None,
) -> ConditionPlan:
    """Sweep a grid, choose the routes, and write the plan.

    Args:
        network: What to cut.
        scenario: Where it is to run.
        grid: The conditions.
        routes: Cuts that a bundle is to carry at most.
        output: The plan's file; None to write none. What is done lies beside it until then.
        resume: Whether to go on with a sweep that was stopped.
        workers: Who looks for the quickest cuts; by default, this process.
        frames: How many to measure the routes with, on this machine under each condition; 0
            where times are modelled.
        begins: Called with the name of each step of a measurement.

    Raises:
        UsageError: See `plan_for_conditions`, `Journal` and `measure_plan`.
        NoLegalCutError: There is no legal cut.
        OutputError: The plan cannot be written.
        SplitcError: The routes cannot be measured.
    """
    search = Search.of(network, scenario)

    def planned(bests: Sequence[Key]) -> ConditionPlan:
        return plan_for_conditions(network, grid, routes=routes, scenario=scenario, bests=bests)

    if output is None:
        return planned(find_bests(search, grid.points, workers=workers))
    # Measured times hang on the routes, and these on the whole grid.
    inputs = f"{scenario} {grid} {routes} {frames}" if frames else f"{scenario}"
    with Journal(
        output.with_name(output.name + SUFFIX), model=network.name, sha256=network.digest,
        inputs=inputs, resume=resume,
    ) as journal:  # fmt: skip
        if frames:
            modelled = planned(find_bests(search, grid.points, workers=workers))
            made = measure_plan(modelled, network, grid.points, journal, frames, begins)
        else:
            made = planned(find_bests(search, grid.points, journal, workers))
        try:
            write_plan(output, made.file(network))
        except OSError as error:
            why = error.strerror or str(error)
            raise OutputError(f"cannot write '{output}'", why=why, hint="another -o") from error
        journal.finish()
    return made
