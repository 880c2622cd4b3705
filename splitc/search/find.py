# SPDX-License-Identifier: Apache-2.0
"""The cut search: which cuts there are, what each costs, which is best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, Protocol

from splitc.cost.board import Board, load_board
from splitc.cost.prices import BoardCost, Costs, CutCost, Objective, Weights
from splitc.errors import NoLegalCutError, SplitcError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph, Tensor
from splitc.ir.model import GraphModel, Model
from splitc.link.link import Link
from splitc.passes.at_cut import codec_of, encode, why_refused, without_channels
from splitc.passes.base import Pass, Pipeline
from splitc.plugins import find

EXHAUSTIVE = 20_000
"""Cuts that are tried one by one at most."""
REWRITTEN = 250_000
"""Layers of the graphs that a codec is tried in at most, all cuts together: seconds of work."""

RowKind = Literal["single", "multi", "device", "server"]


@dataclass(frozen=True)
class Certificate:
    """Why the found cut is the best one under the given prices.

    Args:
        algorithm: Name of the cutter.
        cut_value: Price of the cut, summed anew over its layers and tensors.
        flow_value: Value of the maximum flow that gave it; None where the cut is
            after a layer on every path, which needs no flow.
        lower_bound: No cut costs less: the least of all cuts after such layers,
            all flows, and the bounds of the stretches that were passed over.
        stretches: Pieces between such layers that were solved by a flow.
        head: The head's last layers; the head was checked to be a downset.
        boundary: Names of the tensors that cross.
    """

    algorithm: str
    cut_value: int
    flow_value: int | None
    lower_bound: int
    stretches: int
    head: tuple[str, ...]
    boundary: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """A cut and its certificate."""

    cut: Cut
    certificate: Certificate


class Cutter(Protocol):
    """An algorithm that finds the cheapest cut of a graph."""

    def find(self, graph: LayerGraph, weights: Weights) -> Found:
        """The proper cut with the lowest price.

        Raises:
            NoLegalCutError: The graph has no proper cut that can cross a link.
        """
        ...


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


@dataclass(frozen=True)
class CutRow:
    """One line of the cut table.

    Args:
        cut: The cut.
        cost: Its price list.
        kind: `single` boundary tensor, `multi`, or a baseline: all on the
            `device`, all on the `server`.
        rejected: Why it may not be used; None where it may.
        crosses: What crosses: the codec's boundary where there is a codec.
    """

    cut: Cut
    cost: CutCost
    kind: RowKind
    rejected: str | None = None
    crosses: tuple[Tensor, ...] = ()

    @property
    def boundary(self) -> tuple[Tensor, ...]:
        """The tensors that cross the link."""
        return self.crosses or self.cut.boundary


@dataclass(frozen=True)
class CutTable:
    """The cuts that were looked at, cheapest first, and the two baselines.

    Args:
        rows: Proper cuts; usable ones first, in order of the objective.
        device: Everything on the device.
        server: Everything on the server.
        costs: The prices behind the rows.
        objective: What is minimised.
        certificate: Proof for the best cut without constraints; None where no
            cut can cross, and for throughput, which no min-cut minimises.
        exhaustive: Whether every downset of the graph is among the rows; with a codec,
            whether every cut after a layer that no edge passes by is.
        constraints: The limits that rows were held against.
        codec: What stands around the tensor that crosses, in every row but the baselines.
        own: The cut that the model has already, which `auto` keeps.
    """

    rows: tuple[CutRow, ...]
    device: CutRow
    server: CutRow
    costs: Costs
    objective: Objective
    certificate: Certificate | None
    exhaustive: bool = False
    constraints: Constraints = field(default_factory=Constraints)
    codec: Pipeline | None = None
    own: Cut | None = None

    def row(self, cut: Cut) -> CutRow:
        """The row of any cut of the graph, whether it is in the table or not."""
        cost, crosses, refused = self.costs.of(cut), cut.boundary, cut.why_not()
        kind: RowKind = "single" if len(cut.boundary) == 1 else "multi"
        if self.codec is not None and refused is None:
            try:
                made, _ = encode(GraphModel(self.costs.graph), cut, self.codec, None)
            except SplitcError as error:
                refused = why_refused(error)
            else:
                assert made.cut is not None
                cost = replace(self.costs, graph=made.graph).of(made.cut)
                crosses, refused = made.cut.boundary, made.cut.why_not()
        rejected = refused or self.constraints.why_not(cut, cost)
        return CutRow(cut, cost, kind, rejected, crosses)

    @property
    def usable(self) -> tuple[CutRow, ...]:
        """The rows that may be used, best first."""
        return tuple(row for row in self.rows if row.rejected is None)

    @property
    def best(self) -> CutRow:
        """The best proper cut.

        Raises:
            NoLegalCutError: No row may be used; says why of the most promising.
        """
        for row in self.rows:
            if row.rejected is None:
                return row
        if not self.rows:
            raise NoLegalCutError(
                "the model cannot be cut in two",
                why=f"it has {len(self.costs.graph) - self.costs.graph.input_count} layer(s) "
                "and no place where tensors can cross a link",
            )
        first = self.rows[0]
        raise NoLegalCutError(
            "no cut keeps every constraint"
            if self.codec is None
            else "no cut takes the codec and keeps every constraint",
            at=f"after {first.cut.name}",
            why=first.rejected or "",
            hint="relax --max-head-memory, --max-head-ms or --min-depth"
            + ("" if self.codec is None else ", or another codec")
            + ("" if self.exhaustive else "; too many cuts to try them all: name one with --cut"),
        )

    @property
    def auto(self) -> CutRow:
        """The row that `--cut auto` means: the model's own cut, or else the best.

        Raises:
            NoLegalCutError: It may not be used; says why.
        """
        if self.own is None:
            return self.best
        row = self.row(self.own)
        if row.rejected is not None:
            raise NoLegalCutError(
                "the model's own cut may not be used", at=f"after {row.cut.name}",
                why=row.rejected, hint="relax the limit, or name another with --cut",
            )  # fmt: skip
        return row

    def value(self, row: CutRow) -> float:
        """The figure the table is ordered by."""
        return row.cost.value(self.objective)

    @property
    def baseline(self) -> CutRow:
        """The better of the two baselines."""
        return self.device if self.value(self.device) <= self.value(self.server) else self.server

    @cached_property
    def split_pays(self) -> bool:
        """Whether the best proper cut beats both baselines."""
        return self.value(self.best) < self.value(self.baseline)


def find_cuts(
    model: Model | LayerGraph,
    *,
    head: str | Board,
    tail: str | Board,
    link: Link,
    objective: Objective = "latency",
    constraints: Constraints | None = None,
    cutter: str = "min-cut",
    codec: Pass | Pipeline | str | None = None,
) -> CutTable:
    """The cuts after every layer that no edge passes by and the best cut of all, ranked.

    With constraints, and for throughput, neither of which a min-cut minimises
    under, every downset of the graph is tried, up to `EXHAUSTIVE` of them; on
    graphs with more, those cuts and the unconstrained optimum are.

    With a codec it is the cuts after such layers that are tried, each with the codec
    around the tensor that crosses: encoder on the device, decoder on the server. A cut
    that the codec refuses is rejected with its reason. Channel layers are looked through.

    Args:
        model: What to cut; the cut that it has already is among the rows.
        head: Board of the device, by name, file or object.
        tail: Board of the server.
        link: What lies between them.
        objective: What to minimise.
        constraints: Limits to keep; by default none.
        cutter: The algorithm that may also cut through several tensors.
        codec: Passes that stand at the cut, or their text; their `cut` is left open.

    Returns:
        The table, best first.

    Raises:
        UsageError: An unknown board or cutter; a codec that is none, or with options
            that fit nowhere.
    """
    graph, own = (model, None) if isinstance(model, LayerGraph) else (model.graph, model.cut)
    graph, own = without_channels(graph, own)
    costs = Costs(graph, BoardCost(load_board(head)), BoardCost(load_board(tail)), link)
    table = CutTable(
        rows=(),
        device=_baseline(costs, len(graph), "device"),
        server=_baseline(costs, graph.input_count, "server"),
        costs=costs,
        objective=objective,
        certificate=None,
        constraints=constraints or Constraints(),
        codec=codec_of(codec),
        own=own,
    )
    table, cuts = _with_codec(table) if table.codec else _without_codec(table, cutter)
    if own is not None:
        cuts = {(own.prefix, own.extra): own, **cuts}
    rows = [table.row(cut) for cut in cuts.values()]
    if table.codec is not None and len(rows) > 1 and len({row.rejected for row in rows}) == 1:
        # The same everywhere is a mistake in the codec's options, and no matter of the cut.
        encode(GraphModel(graph), rows[0].cut, table.codec, None)
    rows.sort(key=lambda r: (r.rejected is not None, r.cost.value(objective), r.cut.prefix))
    return replace(table, rows=tuple(rows))


_Cuts = dict[tuple[int, tuple[int, ...]], Cut]


def _without_codec(table: CutTable, cutter: str) -> tuple[CutTable, _Cuts]:
    """The cuts to try where tensors cross as they are, and the certificate of the best."""
    graph, objective = table.costs.graph, table.objective
    cuts = {(cut.prefix, cut.extra): cut for cut in single_cuts(graph)}
    every = None
    if table.constraints != Constraints() or objective == "throughput":
        every = all_cuts(graph, EXHAUSTIVE)
        cuts |= {(cut.prefix, cut.extra): cut for cut in every or ()}
    certificate = None
    try:
        found: Found = find("cutters", cutter)().find(graph, table.costs.weights(objective))
        certificate = None if objective == "throughput" else found.certificate
        cuts.setdefault((found.cut.prefix, found.cut.extra), found.cut)
    except NoLegalCutError:
        pass
    return replace(table, certificate=certificate, exhaustive=every is not None), cuts


def _with_codec(table: CutTable) -> tuple[CutTable, _Cuts]:
    """The cuts to try a codec at: where there are too many, those cheapest but for the link."""
    cuts = list(single_cuts(table.costs.graph))
    most = max(1, REWRITTEN // len(table.costs.graph))
    if len(cuts) > most:
        cuts.sort(key=lambda cut: _but_for_the_link(table, cut))
    found = {(cut.prefix, cut.extra): cut for cut in cuts[:most]}
    return replace(table, exhaustive=len(cuts) <= most), found


def _but_for_the_link(table: CutTable, cut: Cut) -> float:
    cost = table.costs.of(cut)
    energy = table.costs.device.board.compute_power_w * cost.head_s
    return replace(cost, link_s=0.0, busy_s=0.0, energy_j=energy).value(table.objective)


def all_cuts(graph: LayerGraph, most: int) -> list[Cut] | None:
    """Every proper cut of a graph; None where there are more than `most`.

    Between neighbouring dominators the downsets are listed one stretch at a time,
    so that their number is a sum over stretches and not a product.
    """
    cuts = list(single_cuts(graph))
    if len(cuts) > most:
        return None
    for start, stop in graph.stretches:
        found: list[frozenset[int]] = [frozenset()]
        for i in range(start, stop):
            needs = [j for j in graph.predecessors[i] if j >= start]
            found += [s | {i} for s in found if s.issuperset(needs)]
            if len(cuts) + len(found) > most:
                return None
        heads = (Cut.of(graph, (*range(start), *inside)) for inside in found)
        cuts += [cut for cut in heads if cut.is_proper]
    return cuts


def single_cuts(graph: LayerGraph) -> Iterator[Cut]:
    """The proper cuts after a layer that no edge passes by."""
    for i in graph.narrows:
        cut = Cut(graph, i + 1)
        if cut.is_proper:
            yield cut


def _baseline(costs: Costs, prefix: int, kind: RowKind) -> CutRow:
    cut = Cut(costs.graph, prefix)
    return CutRow(cut, costs.of(cut), kind)
