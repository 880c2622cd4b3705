# SPDX-License-Identifier: Apache-2.0
"""`splitc cuts`: the legal cuts, ranked, and why others are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o
from splitc.cli.spread import spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitc.build.backend import Unsupported
    from splitc.ir.graph import LayerGraph, Tensor
    from splitc.ir.model import Network
    from splitc.search.table import CutTable

_ROWS = 12
_WHERE = o.ScenarioOptions()


@spread
def cuts(
    model: o.ModelPath,
    where: o.ScenarioOptions = _WHERE,
    show_all: Annotated[
        bool, typer.Option("--all", "-a", help="Every cut, also those that cannot be used.")
    ] = False,
    why: Annotated[
        str | None,
        typer.Option("--why", metavar="LAYER[,LAYER…]",
                     help="Say what cutting after these layers means, or why it cannot be."),
    ] = None,
    inputs: o.Inputs = None,
    simplify: o.Simplify = True,
    preprocess: o.Preprocess = None,
    to_torch: o.ToTorch = False,
    max_bytes: o.MaxBytes = "8GiB",
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Rank the legal cuts of MODEL for a device, a server and a link."""
    from splitc.build.job import EMIT
    from splitc.cli import cut_table, show
    from splitc.plugins import find
    from splitc.search.find import find_cuts

    scenario = where.scenario()
    loaded = o.ModelOptions(model, inputs, simplify, max_bytes, to_torch, preprocess).load()
    table = find_cuts(loaded, scenario=scenario)
    if why is not None:
        _explain(table, why, json=json)
        return
    missing = find("backends", EMIT)().unsupported(loaded)
    if json:
        from splitc.cli.objects import CutsObject, MissingObject

        show.print_json(CutsObject.of(table, tuple(map(MissingObject.of, missing))))
        if not table.usable:
            raise typer.Exit(5)
        return
    console = show.out()
    chosen = None if table.wanted is None else table.row(table.wanted)
    every = [cut_table.ShownRow(row) for row in table.rows]
    rows = every if show_all else cut_table.best_rows(table, _ROWS, chosen)
    cut_table.print_cuts(table, rows, chosen)
    if missing:
        console.print(show.plain(_refusal(missing, loaded)))
    if quiet:
        return
    for line in show.remarks(table):
        console.print(line, style="dim")
    console.print(f"Times are {table.costs.label}; link {table.costs.link}.", style="dim")
    if show_all:
        for row in table.rows:
            if row.rejected:
                console.print(show.plain(f"not usable: {row.cut.name}: {row.rejected}"))
    elif more := cut_table.not_shown(table, rows):
        console.print(f"{more} more with --all.", style="dim")
    console.print(cut_table.advice(table, table.auto))


def _refusal(missing: Sequence[Unsupported], model: Network) -> str:
    """What `splitc compile` would say, whatever the cut."""
    from splitc.build.refusals import elsewhere

    first = missing[0]
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return (
        f"Not to be compiled: layer '{first.layer}' ({first.op}){more}: {first.why}; "
        f"{elsewhere(model)}."
    )


def _explain(table: CutTable, names: str, *, json: bool) -> None:
    from splitc.cli import show

    graph = table.costs.graph
    row = table.row(table.cut_called(names))
    cut, cost, reason = row.cut, row.cost, row.rejected
    if json:
        from splitc.cli.objects import MadeTensorObject, WhyObject

        boundary = tuple(
            MadeTensorObject(
                name=t.name, shape=t.shape, dtype=t.dtype, bytes=t.nbytes, made_by=_maker(graph, t)
            )
            for t in row.boundary
        )
        show.print_json(
            WhyObject(
                cut=cut.name, usable=reason is None, why_not=reason, boundary=boundary,
                latency_ms=cost.latency_s * 1e3,
            )
        )  # fmt: skip
        return
    console = show.out()
    state = "can be used" if reason is None else f"cannot be used: {reason}"
    console.print(f"cut after {cut.name}: {state}")
    made = len(cut.head) - graph.input_count
    console.print(f"  head {made} layers, tail {len(cut.tail)}")
    for tensor in row.boundary:
        readers = (i for i in graph.readers.get(tensor.name, ()) if not cut.holds(i))
        to = "".join(f" to {graph.layers[i].name}" for i in list(readers)[:1])
        size = "size depends on data" if tensor.nbytes is None else show.short_bytes(tensor.nbytes)
        console.print(
            show.plain(f"  crosses: {tensor.name}  {size}, from {_maker(graph, tensor)}{to}")
        )
    if len(cut.boundary) > 1:
        console.print("  several tensors cross because edges go round the last layer")
    rank = next((k for k, r in enumerate(table.usable, start=1) if r.cut == cut), None)
    place = f"rank {rank} of {len(table.usable)}" if rank else "not in the ranking"
    console.print(f"  {show.milliseconds(cost.latency_s)} ms predicted, {place}")


def _maker(graph: LayerGraph, tensor: Tensor) -> str:
    """The layer that makes what crosses; the codec makes what the graph has not."""
    position = graph.producer.get(tensor.name)
    return "the codec" if position is None else graph.layers[position].name
