# SPDX-License-Identifier: Apache-2.0
"""Cuts: legality, boundary, names."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from splitc.errors import IllegalCutError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.model import GraphModel
from splitc.ir.text import parse_graph
from tests.strategies import graphs

DIAMOND = """
%x = input() : 1x4
%a = conv(%x) : 1x8
%l = relu(%a) : 1x8
%r = conv(%a) : 1x2
%y = add(%l, %r) : 1x8
"""


@given(graphs(), st.data())
def test_a_cut_is_its_downset_and_nothing_else(graph: LayerGraph, data: st.DataObject) -> None:
    named = data.draw(st.lists(st.sampled_from([la.name for la in graph.layers]), max_size=3))
    cut = Cut.after(graph, named)
    inside = set(cut.head)
    assert set(range(graph.input_count)) <= inside
    assert all(j in inside for i in inside for j in graph.predecessors[i])
    assert inside | set(cut.tail) == set(range(len(graph)))
    crossing = {
        t.name
        for i in inside
        for t in graph.layers[i].outputs
        if any(r not in inside for r in graph.readers[t.name])
    }
    assert {t.name for t in cut.boundary} == crossing
    assert Cut.after(graph, cut.layers) == cut


@given(graphs(), st.data())
def test_head_and_tail_hold_every_layer_once(graph: LayerGraph, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from([la.name for la in graph.layers]), max_size=3))
    cut = Cut.after(graph, names)
    assume(cut.why_not() is None)
    head, tail = (part.graph for part in GraphModel(graph).split(cut))
    kept = [la for la in (*head.layers, *tail.layers) if not la.is_input]
    assert sorted(la.origin for la in kept) == sorted(
        la.origin for la in graph.layers if not la.is_input
    )
    assert [t.name for t in tail.inputs] == [t.name for t in cut.boundary]


def test_cutting_inside_a_branch_sends_two_tensors() -> None:
    cut = Cut.after(parse_graph(DIAMOND), ["r"])
    assert [t.name for t in cut.boundary] == ["a", "r"]
    assert cut.boundary_bytes == (8 + 2) * 4
    assert cut.name == "r"
    assert cut.why_not() is None


def test_a_head_that_reads_the_tail_is_refused_by_name() -> None:
    graph = parse_graph(DIAMOND)
    with pytest.raises(IllegalCutError, match="the tail would feed the head") as caught:
        Cut.of(graph, [0, 1, 2, 4])
    assert "'r'" in caught.value.why


def test_a_head_without_an_input_is_refused() -> None:
    with pytest.raises(IllegalCutError, match="every input"):
        Cut(parse_graph(DIAMOND), 0)


def test_an_unknown_layer_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no layer 'q'"):
        Cut.after(parse_graph(DIAMOND), ["q"])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("%b = unique(%a) : ?", "depends on data"),
        ("%b = text(%a) : 1 string", "is a string"),
        ("%b = odd(%a) : *", "is unknown"),
    ],
)
def test_a_tensor_without_a_fixed_size_cannot_cross(line: str, why: str) -> None:
    graph = parse_graph(f"%a = input() : 1\n{line}\n%c = op(%b) : 1")
    assert why in (Cut.after(graph, ["b"]).why_not() or "")


def test_all_on_one_side_is_no_proper_cut() -> None:
    graph = parse_graph(DIAMOND)
    assert not Cut(graph, 1).is_proper
    assert not Cut(graph, len(graph)).is_proper
    assert "empty" in (Cut(graph, len(graph)).why_not() or "")
    assert Cut(graph, 1).why_not() is None, "the inputs can be sent"


def test_a_weight_that_two_layers_share_is_counted_once() -> None:
    import numpy as np
    from onnx import helper

    import splitc
    from tests.helpers import model_of

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "w"], ["y"], "second"),
    ]
    weights = {"w": np.eye(4, dtype=np.float32)}
    graph = splitc.load(model_of(nodes, {"x": [1, 4]}, ["y"], weights)).graph
    assert sum(layer.param_bytes for layer in graph.layers) == 64
    assert graph.layer("first").param_bytes == 64
