# SPDX-License-Identifier: Apache-2.0
"""`splitc plan`: which cuts a bundle should carry, and which one each condition wants."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o
from splitc.cli.plan_loss import LossOptions, plan_for_losses
from splitc.cli.spread import spread
from splitc.errors import UsageError

if TYPE_CHECKING:
    from splitc.search.condition_plan import ConditionPlan

CONDITIONS = "Conditions"
_WHERE = o.ScenarioOptions()
_LOSSES = LossOptions()


@spread
def plan(
    model: o.ModelPath,
    where: o.ScenarioOptions = _WHERE,
    conditions: Annotated[
        Path | None,
        typer.Option("--conditions", metavar="GRID.toml", rich_help_panel=CONDITIONS,
                     help="Shares of CPU and memory that others take, and bandwidths; by default "
                     "0 to 90 % each, and 50, 37.5, 25 and 10 Mbit/s."),
    ] = None,
    routes: Annotated[
        int,
        typer.Option("--routes", metavar="N", rich_help_panel=CONDITIONS,
                     help="Cuts that the bundle is to carry at most."),
    ] = 4,
    switch_cost: Annotated[
        str,
        typer.Option("--switch-cost", metavar="TIME", rich_help_panel=CONDITIONS,
                     help="What moving to another cut costs: under 1ms in a bundle of several, "
                     "seconds where the parts are deployed again."),
    ] = "1ms",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PLAN.json", rich_help_panel=CONDITIONS,
                     help="Write the plan, for [b]splitc compile --plan[/] and [b]splitc send "
                     "--policy[/]."),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", rich_help_panel=CONDITIONS,
                     help="Really run the routes here under each condition: both boards have to "
                     "be this machine (host), and -o keeps what is done."),
    ] = False,
    frames: Annotated[
        int,
        typer.Option("--frames", metavar="N", rich_help_panel=CONDITIONS,
                     help="Of each route and condition, with --measure; medians count."),
    ] = 11,
    resume: Annotated[
        bool,
        typer.Option("--resume", rich_help_panel=CONDITIONS,
                     help="Go on with a sweep that was stopped."),
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", rich_help_panel=CONDITIONS,
                     help="Spread the search over a Ray cluster: auto, HOST:PORT, or local."),
    ] = None,
    show_all: Annotated[
        bool, typer.Option("--all", "-a", help="Every change that moves the cut.")
    ] = False,
    losses: LossOptions = _LOSSES,
    inputs: o.Inputs = None,
    simplify: o.Simplify = True,
    preprocess: o.Preprocess = None,
    max_bytes: o.MaxBytes = "8GiB",
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Choose the cuts of MODEL for changing conditions, or for a lossy link with --tested."""
    from splitc.cli import show
    from splitc.link.link import parse_seconds
    from splitc.search.grid import PAPER, read_grid
    from splitc.sweep.cluster import Cluster
    from splitc.sweep.run import run_plan

    loaded = o.ModelOptions(model, inputs, simplify, max_bytes, preprocess=preprocess)
    for_grid = conditions is not None or output is not None or measure
    if losses.tested is not None and for_grid:
        why = "--tested plans for losses; --conditions, --measure and -o for conditions"
        raise UsageError("these are two plans", why=why, hint="make one after the other")
    if losses.tested is None and losses.within is not None:
        hint = "like --tested tested.json; for conditions, splitc send has --within"
        raise UsageError("--within needs --tested", hint=hint)
    if losses.tested is not None:
        plan_for_losses(loaded.load(), where, losses, json=json, quiet=quiet)
        return
    grid = PAPER if conditions is None else read_grid(conditions)
    switch_s = parse_seconds(switch_cost)
    scenario = where.scenario()
    if (measure or resume) and output is None:
        hint = "what is done is kept beside the plan that -o names"
        raise UsageError(f"--{'measure' if measure else 'resume'} needs -o", hint=hint)
    if measure and frames < 1:
        raise UsageError(f"--frames {frames}", hint="one at least")
    with show.progress(quiet or not measure) as begins, _going_on(output):
        made = run_plan(
            loaded.load(), scenario, grid, routes, output, resume=resume,
            workers=None if ray is None else Cluster(ray),
            frames=frames if measure else 0, begins=begins,
        )  # fmt: skip
    if json:
        from splitc.cli.plan_object import PlanObject

        show.print_json(PlanObject.of(made, switch_s, None if output is None else str(output)))
        return
    _show(made, switch_s, show_all=show_all, quiet=quiet)
    if output is not None:
        show.out().print(show.plain(f"Wrote {output}: splitc compile --plan {output}"))


@contextmanager
def _going_on(output: Path | None) -> Generator[None]:
    """Where a sweep is stopped, say how to go on."""
    from splitc.cli import show

    try:
        yield
    except KeyboardInterrupt:
        if output is not None:
            text = "what is done is kept: the same command with --resume goes on"
            show.err().print(f"splitc: {text}")
        raise


def _show(made: ConditionPlan, switch_s: float, *, show_all: bool, quiet: bool) -> None:
    from splitc.cli import show
    from splitc.cli.plan_tables import summary, tables

    console = show.out()
    for part in tables(made, switch_s, show_all=show_all):
        console.print(part)
    for line in summary(made):
        console.print(line)
    if not quiet:
        link, switch_ms = made.scenario.link, switch_s * 1e3
        console.print(f"{len(made.swept.points)} conditions, {made.swept.kind}.", style="dim")
        console.print(f"Link but for its bandwidth: {link}.", style="dim")
        console.print(f"A switch costs {switch_ms:g} ms. Times are", style="dim")
        for figures in made.carried.figures.replace(" and ", " and; ").split("; "):
            console.print(figures, style="dim")
