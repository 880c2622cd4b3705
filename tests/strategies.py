# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies: random layer DAGs and prices."""

from __future__ import annotations

from hypothesis import strategies as st

from splitc.cost.prices import LinkPrices, Prices
from splitc.ir.cut import Cut
from splitc.ir.graph import INPUT_OP, Layer, LayerGraph, Tensor


@st.composite
def graphs(draw: st.DrawFn, *, max_layers: int = 10, max_inputs: int = 2) -> LayerGraph:
    """A layer DAG whose layers all reach a result; some layers make two tensors."""
    inputs = draw(st.integers(1, max_inputs))
    layers = [Layer(f"x{i}", INPUT_OP, (), (Tensor(f"x{i}", (1, 4)),)) for i in range(inputs)]
    for k in range(draw(st.integers(1, max_layers))):
        known = [t.name for layer in layers for t in layer.outputs]
        read = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3))
        count = draw(st.sampled_from((1, 1, 1, 2)))
        made = tuple(
            Tensor(f"t{k}" if c == 0 else f"t{k}.{c}", (1, draw(st.integers(1, 64))))
            for c in range(count)
        )
        layers.append(Layer(f"t{k}", "op", tuple(read), made))
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
