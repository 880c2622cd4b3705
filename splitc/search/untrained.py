# SPDX-License-Identifier: Apache-2.0
"""Codecs that need no training: what each would bring at each cut, the cheapest first."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from splitc.errors import SplitcError
from splitc.ir.cut import Cut
from splitc.ir.graph import INPUT_OP, Layer, LayerGraph, Tensor
from splitc.ir.model import GraphModel
from splitc.passes.at_cut import codec_of, encode
from splitc.passes.base import Pipeline
from splitc.search.enumerate import single_cuts
from splitc.search.problem import CutRow, Problem
from splitc.search.table import CutTable

BITS = "quantize-boundary"
"""The pass that sends fewer bits, and compiles; its option `bits` says how many."""
WIDTHS = (8, 4)
"""Bits of what crosses that are tried."""
QUICK = 25_000
"""Layers of the graphs that are rewritten at most to say what codecs bring: a tenth of a second."""


@dataclass(frozen=True)
class Coded:
    """A cut with a codec around what crosses.

    Args:
        bits: Of a value that crosses.
        codec: The passes.
        row: What the cut costs with them.
    """

    bits: int
    codec: Pipeline
    row: CutRow


@dataclass(frozen=True)
class Brought:
    """What the codecs that need no training bring to a table of cuts without one.

    Args:
        best: The cheapest cut with one of them.
        other: What it is held against: the best cut without, or the best baseline.
        pays: Whether it is better than that.
    """

    best: Coded
    other: CutRow
    pays: bool


def what_codecs_bring(table: CutTable) -> Brought | None:
    """The cheapest cut of a table with a codec that needs no training.

    Args:
        table: Cuts without a codec. Where the model has a cut of its own, it is that one.

    Returns:
        None where the table has a codec already, or none can stand at a cut that keeps the limits.
    """
    problem = table.problem
    if problem.codec is not None:
        return None
    cuts = single_cuts(problem.graph) if table.own is None else [table.own]
    best = next(cheapest_first(problem, cuts, most=QUICK), None)
    if best is None:
        return None
    other = min((table.baseline, *table.usable[:1]), key=table.value)
    return Brought(best, other, table.value(best.row) < table.value(other))


def cheapest_first(problem: Problem, cuts: Iterable[Cut], *, most: int) -> Iterator[Coded]:
    """The cuts that may be used, each with each codec, in order of the objective.

    What a codec computes takes time, never less than none. So a cut's price with nothing but fewer
    bytes across is no more than its price with the codec inside, and the graph is rewritten only
    where such a bound comes before every price that is known.

    Args:
        problem: Without a codec.
        cuts: Where to try them; those that other than one tensor crosses are left out.
        most: Layers of all graphs that are rewritten at most, but for the first; what would need
            more is left out.
    """
    codecs = [(bits, _codec(bits)) for bits in WIDTHS]
    waiting = [
        (bound, (bits, codec, cut))
        for cut in cuts
        for bits, codec in codecs
        if (bound := _bound(problem, cut, codec)) is not None
    ]
    queue: list[_Entry] = [(bound, k, one, None) for k, (bound, one) in enumerate(waiting)]
    heapq.heapify(queue)
    rewritten = 0
    while queue:
        _, number, one, row = heapq.heappop(queue)
        bits, codec, cut = one
        if row is not None:
            yield Coded(bits, codec, row)
            continue
        if rewritten and rewritten + len(problem.graph) > most:
            continue
        rewritten += len(problem.graph)
        row = replace(problem, codec=codec).row(cut)
        if row.rejected is None:
            heapq.heappush(queue, (row.cost.value(problem.objective), number, one, row))


_Entry = tuple[float, int, tuple[int, Pipeline, Cut], CutRow | None]
"""A bound or a price, a number that tells entries apart, what it is of, and its row once priced."""


def _codec(bits: int) -> Pipeline:
    codec = codec_of(f"{BITS}(bits={bits})")
    assert codec is not None
    return codec


def _bound(problem: Problem, cut: Cut, codec: Pipeline) -> float | None:
    """What a cut costs at least with a codec; None where the codec takes nothing that crosses."""
    if len(cut.boundary) != 1:
        return None
    (tensor,) = cut.boundary
    sent = _sent_bytes(codec, Tensor("t", tensor.shape, tensor.dtype))
    if sent is None or tensor.nbytes is None:
        return None
    costs = problem.costs
    return costs.resent(costs.of(cut), [tensor.nbytes], [sent]).value(problem.objective)


@lru_cache(maxsize=4096)
def _sent_bytes(codec: Pipeline, tensor: Tensor) -> int | None:
    """Bytes that cross for a tensor, which hang on its shape alone; None where it is refused."""
    layers = (
        Layer("t", INPUT_OP, (), (tensor,)),
        Layer("y", "identity", ("t",), (replace(tensor, name="y"),)),
    )
    graph = LayerGraph(layers, ("y",))
    try:
        made, _ = encode(GraphModel(graph), Cut(graph, 1), codec, None)
    except SplitcError:
        return None
    return None if made.cut is None else made.cut.boundary_bytes
