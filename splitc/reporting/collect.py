# SPDX-License-Identifier: Apache-2.0
"""The data of a report, chosen from a cut table: of thousands of cuts those worth showing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.reporting.bandwidth import Line, reigns
from splitc.reporting.data import (
    MOST_BLOCKS,
    MOST_ROWS,
    SCHEMA,
    BlockEntry,
    LinkEntry,
    ReportData,
    RowEntry,
)
from splitc.reporting.front import pareto_front, thinned
from splitc.search.problem import CutRow
from splitc.search.table import CutTable

_BEST, _FRONT, _WORST = 24, 20, 6
_MARKED = 8
"""Best cuts that are boundaries of the strip's blocks, whatever else is folded."""
_NAME = 4096

_Key = tuple[int, tuple[int, ...]]


def report_data(table: CutTable, chosen: CutRow, routes: Sequence[CutRow]) -> ReportData:
    """What the report of a bundle is made from.

    Args:
        table: The cuts.
        chosen: The row of the bundle's default route.
        routes: Those of all its routes.
    """
    graph, costs = table.problem.graph, table.costs
    link, device = costs.link, costs.device.board
    rows = _rows(table, routes)
    strip = _Strip.of(table, [chosen, *routes], rows)
    places = {_key(row): k for k, row in enumerate(table.rows, start=1)}

    def entry(row: CutRow) -> RowEntry:
        return _entry(table, row, places.get(_key(row), 0), strip.after.get(_key(row)))

    return ReportData(
        schema=SCHEMA, objective=table.objective, figures=costs.label[:_NAME],
        link=LinkEntry(
            text=str(link), bandwidth_bps=link.bandwidth_bps, rtt_s=link.rtt_s,
            loss_rate=link.loss_rate, mtu_bytes=link.mtu_bytes,
        ),
        codec="" if table.problem.codec is None else str(table.problem.codec)[:_NAME],
        device=device.title[:_NAME], server=costs.server.board.title[:_NAME],
        device_memory_bytes=device.memory_bytes,
        layers=len(graph) - graph.input_count,
        flops=sum(layer.flops for layer in graph.layers),
        param_bytes=sum(layer.param_bytes for layer in graph.layers),
        cuts=len(table.rows), usable=len(table.usable),
        auto="" if table.wanted is None else table.wanted.name[:_NAME],
        chosen=entry(chosen),
        baselines=tuple(map(entry, table.wholes)),
        rows=tuple(map(entry, rows)), blocks=strip.blocks, results=table.problem.results,
    )  # fmt: skip


def _key(row: CutRow) -> _Key:
    return row.cut.prefix, row.cut.extra


def _entry(table: CutTable, row: CutRow, place: int, after: int | None) -> RowEntry:
    cost = row.cost
    return RowEntry(
        cut=row.cut.name[:_NAME], kind=row.kind, place=0 if row.kind in _BASES else place,
        after=after, boundary_bytes=cost.boundary_bytes, plain_bytes=row.cut.boundary_bytes,
        head_ms=_ms(cost.head_s), link_ms=_ms(cost.link_s), busy_ms=_ms(cost.busy_s),
        tail_ms=_ms(cost.tail_s), energy_mj=_ms(cost.energy_j),
        head_weight_bytes=cost.head_param_bytes, head_memory_bytes=cost.head_peak_bytes,
        value=_ms(table.value(row)),
        rejected=None if row.rejected is None else row.rejected[:_NAME],
        sent="tensor" if row.sent is None else row.sent.how,
        source="" if row.sent is None else row.sent.source[:_NAME],
    )  # fmt: skip


_BASES = ("device", "server")


def _ms(seconds: float) -> float:
    """Milliseconds, or millijoules of joules, in seven figures."""
    return float(f"{max(seconds, 0.0) * 1e3:.7g}")


def _rows(table: CutTable, routes: Sequence[CutRow]) -> list[CutRow]:
    """The best, those that win over some bandwidth or in some pair of figures, a few that may
    not be used; in the table's order."""
    usable = table.usable
    of_routes = {_key(row) for row in routes}
    wanted = {*range(min(_BEST, len(usable)))}
    wanted |= {k for k, row in enumerate(usable) if _key(row) in of_routes}
    wanted |= {*_winners(table, usable)}
    latency = [row.cost.latency_s for row in usable]
    for other in (
        [float(row.cost.head_peak_bytes) for row in usable],
        [float(row.cost.boundary_bytes) for row in usable],
    ):
        front = pareto_front([*zip(latency, other, strict=True)])
        wanted |= {*thinned(front, _FRONT)}
    rejected = [row for row in table.rows if row.rejected is not None][:_WORST]
    return [usable[k] for k in sorted(wanted)][: MOST_ROWS - _WORST] + rejected


def _winners(table: CutTable, usable: Sequence[CutRow]) -> Iterable[int]:
    """The rows that are quickest over some bandwidth, the baselines beside them."""
    bases = len(table.wholes)
    every = [*table.wholes, *usable]
    bps = table.costs.link.bandwidth_bps
    lines = [
        Line.of(c.head_s * 1e3, c.link_s * 1e3, c.busy_s * 1e3, c.tail_s * 1e3, bps)
        for c in (row.cost for row in every)
    ]
    return (one.line - bases for one in reigns(lines) if one.line >= bases)


@dataclass(frozen=True)
class _Strip:
    """The network as blocks between nested cuts, and behind which block each of those is."""

    blocks: tuple[BlockEntry, ...]
    after: dict[_Key, int]

    @staticmethod
    def of(table: CutTable, kept: Sequence[CutRow], rows: Sequence[CutRow]) -> _Strip:
        """Fold a network into as many blocks as can be seen at a time.

        Args:
            table: The cuts.
            kept: Whose cuts end a block in any case: those of the bundle's routes.
            rows: Others that do while there is room, the best first.
        """
        graph = table.problem.graph
        cuts = [row.cut for row in kept if row.kind not in _BASES]
        singles = sorted(
            (row.cut for row in table.rows if row.kind == "single"), key=lambda cut: cut.prefix
        )
        marked = [row.cut for row in rows[:_MARKED]]
        most = MOST_BLOCKS - 1
        found = _nested([*cuts, *marked], most)
        others = [k for k, cut in enumerate(singles) if cut not in found]
        spread = thinned(others, most - len(found))
        found = _nested([*found, *(singles[k] for k in spread)], most)
        found.sort(key=lambda cut: len(cut.head))
        edges = [Cut(graph, graph.input_count), *found, Cut(graph, len(graph))]
        costs = table.costs
        blocks = tuple(
            _block(graph, before, after, costs.device_s, costs.server_s)
            for before, after in pairwise(edges)
        )
        return _Strip(blocks, {(cut.prefix, cut.extra): k for k, cut in enumerate(found)})


def _nested(cuts: Iterable[Cut], most: int) -> list[Cut]:
    """Cuts each of which holds, or is held by, every other that is taken; the first ones first."""
    found: list[Cut] = []
    for cut in cuts:
        if len(found) == most:
            break
        if all(_within(cut, one) != _within(one, cut) for one in found) and cut.is_proper:
            found.append(cut)
    return found


def _within(small: Cut, large: Cut) -> bool:
    return small.prefix <= large.prefix and all(large.holds(i) for i in small.extra)


def _block(
    graph: LayerGraph, before: Cut, after: Cut, device_s: Sequence[float], server_s: Sequence[float]
) -> BlockEntry:
    inside = [i for i in range(graph.input_count, len(graph)) if after.holds(i)]
    inside = [i for i in inside if not before.holds(i)]
    layers = [graph.layers[i] for i in inside]
    counted = Counter(layer.op for layer in layers)
    commonest = sorted(counted, key=lambda op: (-counted[op], op))[:4]
    return BlockEntry(
        first=layers[0].name[:_NAME], last=layers[-1].name[:_NAME], layers=len(layers),
        ops=tuple(op[:_NAME] for op in commonest), flops=sum(layer.flops for layer in layers),
        param_bytes=sum(layer.param_bytes for layer in layers),
        device_ms=_ms(sum(device_s[i] for i in inside)),
        server_ms=_ms(sum(server_s[i] for i in inside)),
        after_bytes=after.boundary_bytes if after.is_proper else None,
    )  # fmt: skip
