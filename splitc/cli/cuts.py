# SPDX-License-Identifier: Apache-2.0
"""`splitc cuts`: the legal cuts, ranked, and why others are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o
from splitc.cli.spread import spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitc.build.backend import Unsupported
    from splitc.cli.cut_table import ShownRow
    from splitc.ir.model import Network
    from splitc.search.explain import Explanation
    from splitc.search.pareto import Figure
    from splitc.search.placing import Placed
    from splitc.search.scenario import Scenario
    from splitc.search.table import CutTable

_ROWS = 12
_WHERE = o.ScenarioOptions()


@spread
def cuts(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="What [b]splitc compile[/] takes, or a layer graph as "
                       "text, whose file's name ends in .txt: with --profile for its times."),
    ],
    where: o.ScenarioOptions = _WHERE,
    show_all: Annotated[
        bool, typer.Option("--all", "-a", help="Every cut, also those that cannot be used.")
    ] = False,
    explain: Annotated[
        str | None,
        typer.Option("--explain", metavar="LAYER[,LAYER…]",
                     help="Say what cutting after these layers means, and why it is not the cut: "
                     "illegal, over a limit, dominated, or slower by how much."),
    ] = None,
    pareto: Annotated[
        bool,
        typer.Option("--pareto", help="Only cuts that no other is better than in latency, device "
                     "memory, bytes across and energy at once."),
    ] = False,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="FIGURE,FIGURE…",
                     help="What --pareto weighs instead, two or more of latency, memory, bytes, "
                     "energy and depth, which is better the deeper."),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option("--plot", metavar="FILE.svg|png",
                     help="Draw them: the first figure against the others (splitc\\[plot])."),
    ] = None,
    via: Annotated[
        list[str] | None,
        typer.Option("--via", metavar="BOARD:LINK",
                     help="A machine between device and server, and the link that leads on from it:"
                     " [b]rpi5:ethernet[/] or [b]rpi5:100Mbit,5ms[/]; --link leads to the first. "
                     "Says which layers run where. Repeatable."),
    ] = None,
    inputs: o.Inputs = None,
    simplify: o.Simplify = True,
    preprocess: o.Preprocess = None,
    to_torch: o.ToTorch = False,
    max_bytes: o.MaxBytes = "8GiB",
    calibrate: o.Calibrate = None,
    max_drop: o.MaxDrop = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Rank the legal cuts of MODEL for a device, a server and a link."""
    from splitc.build.backend import EMIT
    from splitc.build.options import allowing
    from splitc.cli import cut_table, show
    from splitc.cli.codec_lines import print_choice
    from splitc.cli.placed import place
    from splitc.errors import UsageError
    from splitc.ir.graph import LayerGraph
    from splitc.plugins import find
    from splitc.search.explain import Explanation
    from splitc.search.find import find_cuts

    weighed = _weighed(pareto, by, plot)
    if via and (explain is not None or weighed or show_all):
        raise UsageError("--via, and --explain, --pareto or --all", why="it lists no cuts")
    scenario = replace(allowing(where.scenario(), max_drop), samples=calibrate or ())
    source = o.ModelOptions(model, inputs, simplify, max_bytes, to_torch, preprocess)
    loaded = source.load_graph()
    if via:
        _place(place(loaded, scenario, via), json=json, quiet=quiet)
        return
    table = find_cuts(loaded, scenario=scenario)
    if explain is not None:
        _explain(Explanation(table, table.row_called(explain)), json=json)
        return
    if plot is not None:
        _draw(plot, table, scenario, source.name, weighed)
    missing: list[Unsupported] = []
    if not isinstance(loaded, LayerGraph):
        missing = find("backends", EMIT)().unsupported(loaded)
    if json:
        from splitc.cli.objects import CutsObject, MissingObject

        show.print_json(CutsObject.of(table, tuple(map(MissingObject.of, missing)), weighed))
        if not table.usable:
            raise typer.Exit(5)
        return
    rows = cut_table.shown_rows(table, _ROWS, every=show_all, weighed=weighed)
    cut_table.print_cuts(table, rows, table.chosen)
    print_choice(table)
    if missing and not isinstance(loaded, LayerGraph):
        show.out().print(show.plain(_refusal(missing, loaded)))
    if not quiet:
        _remark(table, rows, every=show_all)


def _weighed(pareto: bool, by: str | None, plot: str | None) -> tuple[Figure, ...]:
    """What cuts are weighed by; () where no front is wanted."""
    from splitc.pictures import check_plot
    from splitc.search.pareto import USUAL, figures_named

    if plot is not None:
        check_plot(Path(plot))
    if by is not None:
        return figures_named(by)
    return USUAL if pareto or plot is not None else ()


def _draw(
    path: str, table: CutTable, scenario: Scenario, name: str, weighed: Sequence[Figure]
) -> None:
    from splitc.search.pareto_plot import plot_front

    sites = f"{scenario.head.board.name}, {scenario.tail.board.name}"
    plot_front(path, table, f"{name} on {sites} over {scenario.link}", weighed)


def _remark(table: CutTable, rows: Sequence[ShownRow], *, every: bool) -> None:
    """What stands below the table."""
    from splitc.cli import cut_table, show
    from splitc.cli.codec_lines import brought_line

    console = show.out()
    for line in show.remarks(table):
        console.print(line, style="dim")
    console.print(f"Times are {table.costs.label}; link {table.costs.link}.", style="dim")
    if table.named and table.solution is not None:
        console.print(show.plain(f"Found by {show.proved(table.solution.proof)}."), style="dim")
    if every:
        for row in table.rows:
            if row.rejected:
                console.print(show.plain(f"not usable: {row.cut.name}: {row.rejected}"))
    elif more := cut_table.not_shown(table, rows):
        console.print(f"{more} more with --all.", style="dim")
    console.print(cut_table.advice(table, table.auto))
    if (brought := brought_line(table)) is not None:
        console.print(brought)


def _refusal(missing: Sequence[Unsupported], model: Network) -> str:
    """What `splitc compile` would say, whatever the cut."""
    from splitc.build.refusals import elsewhere

    first = missing[0]
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return (
        f"Not to be compiled: layer '{first.layer}' ({first.op}){more}: {first.why}; "
        f"{elsewhere(model)}."
    )


def _place(one: Placed, *, json: bool, quiet: bool) -> None:
    from splitc.cli import show
    from splitc.cli.placed import PlacedObject, print_placed

    if json:
        show.print_json(PlacedObject.of(one))
    else:
        print_placed(one, quiet=quiet)


def _explain(found: Explanation, *, json: bool) -> None:
    from splitc.cli import show
    from splitc.cli.explain import ExplainObject, print_explanation

    if json:
        show.print_json(ExplainObject.of(found))
    else:
        print_explanation(found)
