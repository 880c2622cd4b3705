# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies: random layer DAGs and prices."""

from __future__ import annotations

from hypothesis import strategies as st

from splitc.cost.prices import RESULTS_AT, LinkPrices, Objective, Prices, ResultsAt
from splitc.ir.cut import Cut
from splitc.ir.graph import INPUT_OP, Layer, LayerGraph, Tensor
from splitc.link.link import Link
from splitc.search.limits import Constraints
from splitc.search.problem import Problem
from splitc.search.scenario import Scenario, Side

SIZES, NONE = st.integers(1, 64), st.just(0)
EXTREME = st.sampled_from((0, 1, 7, 7, 7, 1000, 10**9, 10**15))
"""Elements of tensors, FLOPs and bytes of weights: none, equal ones, and huge ones."""


@st.composite
def graphs(
    draw: st.DrawFn,
    *,
    max_layers: int = 10,
    max_inputs: int = 2,
    sizes: st.SearchStrategy[int] = SIZES,
    work: st.SearchStrategy[int] = NONE,
) -> LayerGraph:
    """A layer DAG whose layers all reach a result; some layers make two tensors.

    Args:
        draw: Hypothesis's.
        max_layers: Layers besides the inputs.
        max_inputs: Inputs.
        sizes: Elements of tensors.
        work: FLOPs of layers, and bytes of their weights.
    """
    inputs = draw(st.integers(1, max_inputs))
    layers = [Layer(f"x{i}", INPUT_OP, (), (Tensor(f"x{i}", (1, 4)),)) for i in range(inputs)]
    for k in range(draw(st.integers(1, max_layers))):
        known = [t.name for layer in layers for t in layer.outputs]
        read = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3))
        count = draw(st.sampled_from((1, 1, 1, 2)))
        made = tuple(
            Tensor(f"t{k}" if c == 0 else f"t{k}.{c}", (1, draw(sizes))) for c in range(count)
        )
        layers.append(Layer(f"t{k}", "op", tuple(read), made, draw(work), draw(work)))
    consumed = {name for layer in layers for name in layer.inputs}
    loose = [
        layer.outputs[0].name
        for layer in layers
        if not any(t.name in consumed for t in layer.outputs) and not layer.is_input
    ]
    extra = draw(
        st.lists(st.sampled_from([t.name for la in layers for t in la.outputs]), max_size=1)
    )
    return LayerGraph(tuple(layers), tuple(dict.fromkeys((*loose, *extra))))


@st.composite
def priced_graphs(draw: st.DrawFn, *, max_layers: int = 10) -> tuple[LayerGraph, Prices]:
    """A layer DAG and integer prices for it."""
    graph = draw(graphs(max_layers=max_layers))
    size = len(graph)
    prices = st.integers(0, 50)
    free = [0] * graph.input_count
    rest = size - graph.input_count
    head = free + draw(st.lists(prices, min_size=rest, max_size=rest))
    tail = free + draw(st.lists(prices, min_size=rest, max_size=rest))
    tensor = {name: draw(st.one_of(st.integers(0, 60), st.none())) for name in graph.tensors}
    link = LinkPrices(tensor, draw(st.integers(0, 20)))
    return graph, Prices((tuple(head), tuple(tail)), {(0, 1): link})


@st.composite
def problems(
    draw: st.DrawFn,
    *,
    objective: Objective = "latency",
    limits: bool = False,
    pins: bool = True,
    max_layers: int = 8,
) -> Problem:
    """Problems with tensors and layers of no, equal and huge cost, layers pinned, and limits.

    Pins never contradict each other, nor where results are wanted: they are layers of the two
    sides of some cut.

    Args:
        draw: Hypothesis's.
        objective: What is minimised.
        limits: Whether there are limits to keep, which may be too tight for any cut.
        pins: Whether layers may be pinned.
        max_layers: Layers besides the inputs.
    """
    graph = draw(graphs(max_layers=max_layers, sizes=EXTREME, work=EXTREME))
    layers = range(graph.input_count, len(graph))
    asked: dict[str, Side] = {}
    results: ResultsAt = draw(st.sampled_from(RESULTS_AT))
    if pins and draw(st.booleans()):
        held = Cut.after(graph, [graph.layers[draw(st.sampled_from(layers))].name])
        inner = [i for i in held.head if i >= graph.input_count]
        results = "device" if held.results else results
        asked[graph.layers[draw(st.sampled_from(inner))].name] = "head"
        if held.tail:
            asked[graph.layers[draw(st.sampled_from(held.tail))].name] = "tail"
    kept = Constraints()
    if limits:
        kept = Constraints(
            max_head_bytes=draw(st.sampled_from((None, 100, 10**10))),
            max_boundary_bytes=draw(st.sampled_from((None, 28, 10**10))),
            min_depth=draw(st.integers(0, 2)),
        )
    link = Link(draw(st.sampled_from((5470.0, 2e7, 1e15))), rtt=draw(st.sampled_from((0.0, 0.05))))
    scenario = Scenario.of(
        head="rpi4", tail="x86-64-v3", link=link, objective=objective, constraints=kept,
        pins=asked, results=results,
    )  # fmt: skip
    return scenario.problem(graph)


@st.composite
def nested_cuts(draw: st.DrawFn, graph: LayerGraph, *, most: int = 3) -> list[Cut]:
    """Legal cuts of a graph, each within the next; none where there are none."""
    names = [layer.name for layer in graph.layers]
    found: list[Cut] = []
    named: list[str] = []
    for _ in range(most):
        named += draw(st.lists(st.sampled_from(names), min_size=1, max_size=2))
        cut = Cut.after(graph, named)
        if cut.why_not() is None and (not found or len(cut.head) > len(found[-1].head)):
            found.append(cut)
    return found
