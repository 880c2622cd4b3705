# SPDX-License-Identifier: Apache-2.0
"""Layers inserted behind any tensor of a bare graph or an ONNX model, and taken out again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper

import splitc
from splitc.errors import SplitcError, UnsupportedOpError, UsageError
from splitc.ir.chain import CHANNEL, Insertion, channel_layers
from splitc.ir.cut import Cut
from splitc.ir.graph import Layer, LayerGraph, Tensor
from splitc.ir.model import GraphModel
from tests.frontend.onnx.test_random_models import models
from tests.frontend.splitting import assert_valid, run_plain
from tests.helpers import model_of, small_network
from tests.strategies import graphs


def named(tensor: Tensor, *names: str, op: str = "awgn") -> list[Insertion]:
    """A chain of layers that keep shape and element type."""
    return [Insertion(name, op, tensor.static_shape, tensor.dtype) for name in names]


def computed(graph: LayerGraph) -> dict[str, list[str]]:
    """What every layer reads, by the layer."""
    return {layer.name: list(layer.inputs) for layer in graph.layers}


@given(graphs(), st.data())
def test_every_reader_reads_the_end_of_the_chain_and_results_stay(
    graph: LayerGraph, data: st.DataObject
) -> None:
    tensor = graph.tensors[data.draw(st.sampled_from(sorted(graph.tensors)))]
    made = GraphModel(graph).insert(tensor.name, named(tensor, "up", "down")).graph
    up, down = f"{tensor.name}.up", f"{tensor.name}.down"
    reads = computed(made)
    assert (reads.pop(up), reads.pop(down)) == ([tensor.name], [up])
    expected = {
        name: [down if read == tensor.name else read for read in inputs]
        for name, inputs in computed(graph).items()
    }
    assert reads == expected
    assert made.outputs == graph.outputs
    assert made.inputs == graph.inputs
    assert str(GraphModel(made).bypass((up, down)).graph) == str(graph)


@given(graphs(), st.data())
def test_two_insertions_one_behind_the_other_come_out_in_any_order(
    graph: LayerGraph, data: st.DataObject
) -> None:
    tensor = graph.tensors[data.draw(st.sampled_from(sorted(graph.tensors)))]
    once = GraphModel(graph).insert(tensor.name, named(tensor, "a"))
    twice = once.insert(f"{tensor.name}.a", named(tensor, "b"))
    inner, outer = f"{tensor.name}.a", f"{tensor.name}.a.b"
    assert str(twice.bypass((outer,)).graph) == str(once.graph)
    assert str(twice.bypass((inner,)).bypass((outer,)).graph) == str(graph)
    assert set(channel_layers(twice.graph)) == {inner, outer}


TEXT = """
%x = input() : 1x4
%a, %b = split(%x) : 1x2, 1x2
%t = relu(%a) : 1x2
%t.taken = relu(%t) : 1x2
%y = add(%t.taken, %b) : 1x2
"""
REFUSED: dict[str, tuple[str, tuple[str, ...], str]] = {
    "no such tensor": ("q", ("new",), "there is no tensor 'q'"),
    "a name of the network's": ("t", ("taken",), "there is a 't.taken' behind 't' already"),
    "a name twice in the chain": ("t", ("new", "new"), "there is a 't.new' behind 't' already"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_inserted_is_refused_by_name(what: str) -> None:
    tensor, names, match = REFUSED[what]
    chain = named(Tensor(tensor, (1, 2)), *names)
    with pytest.raises(UsageError, match=match):
        GraphModel(splitc.parse_graph(TEXT)).insert(tensor, chain)


def test_the_same_chain_twice_is_refused() -> None:
    tensor = Tensor("t", (1, 2))
    made = GraphModel(splitc.parse_graph(TEXT)).insert("t", named(tensor, "noise"))
    with pytest.raises(UsageError, match="there is a 't.noise' behind 't' already"):
        made.insert("t", named(tensor, "noise"))


@pytest.mark.parametrize(
    ("name", "match"),
    [("a", "makes 2"), ("y", "reads 2"), ("x", "reads 0"), ("q", "no layer 'q'")],
)
def test_a_layer_of_several_tensors_is_not_left_out(name: str, match: str) -> None:
    graph = splitc.parse_graph(TEXT)
    names = {layer.outputs[0].name: layer.name for layer in graph.layers}
    with pytest.raises(UsageError, match=match):
        GraphModel(graph).bypass((names.get(name, name),))


def test_a_result_that_crosses_stays_the_tensor_itself() -> None:
    text = "%x = input() : 1x4\n%t = relu(%x) : 1x4\n%y = relu(%t) : 1x4\n"
    graph = LayerGraph(splitc.parse_graph(text).layers, ("t", "y"))
    made = GraphModel(graph).insert("t", named(graph.tensors["t"], "noise")).graph
    assert made.outputs == ("t", "y")
    cut = Cut.sending(made, "t")
    assert [t.name for t in cut.boundary] == ["t"]
    assert cut.results == ("t",)


def test_a_result_made_by_a_layer_left_out_is_what_the_layer_read() -> None:
    layers = (
        Layer("x", "input", (), (Tensor("x", (1, 4)),)),
        Layer("t", "relu", ("x",), (Tensor("t", (1, 4)),)),
        Layer("n", "awgn", ("t",), (Tensor("n", (1, 4)),), kind=CHANNEL),
    )
    made = GraphModel(LayerGraph(layers, ("t", "n"))).bypass(("n",)).graph
    assert made.outputs == ("t",)


def node_of(op: str, **attributes: Any) -> Any:
    def make(read: str, made: str) -> tuple[NodeProto, dict[str, Any]]:
        return helper.make_node(op, [read], [made], **attributes), {}

    return make


def shifted(read: str, made: str) -> tuple[NodeProto, dict[str, Any]]:
    """A node that reads an array of its own."""
    name = f"{made}.shift"
    node = helper.make_node("Add", [read, name], [made])
    return node, {name: np.float32(0.5)}


def onnx_chain(tensor: Tensor) -> list[Insertion]:
    """y = tanh(x + 0.5), a node each, as an ONNX front end reads them."""
    shape, count = tensor.static_shape, tensor.elements or 0
    return [
        Insertion("shift", "add", shape, tensor.dtype, 4, count, node=shifted),
        Insertion("tanh", "tanh", shape, tensor.dtype, 0, count, node=node_of("Tanh")),
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(models(), st.data())
def test_an_onnx_model_and_its_graph_are_rewritten_alike(
    proto: ModelProto, data: st.DataObject
) -> None:
    model = splitc.load(proto, simplify=False)
    name = data.draw(st.sampled_from([n for n, readers in model.graph.readers.items() if readers]))
    chain = onnx_chain(model.graph.tensors[name])
    made = model.insert(name, chain)
    assert str(made.graph) == str(GraphModel(model.graph).insert(name, chain).graph)
    assert_valid(made)
    assert made.digest != model.digest
    back = made.bypass((f"{name}.shift", f"{name}.tanh"))
    assert str(back.graph) == str(model.graph)
    assert_valid(back)


def test_an_onnx_model_computes_with_the_chain_what_it_should() -> None:
    model = splitc.load(small_network(), simplify=False)
    feed = {"x": np.random.default_rng(0).standard_normal((1, 3, 12, 12)).astype(np.float32)}
    cut = Cut.after(model.graph, ["pool"])
    tensor = cut.boundary[0]
    made = model.insert(tensor.name, onnx_chain(tensor))
    head, tail = model.split(cut)
    sent = run_plain(head.proto, feed)[tensor.name]
    expected = run_plain(tail.proto, {tensor.name: np.tanh(sent + np.float32(0.5))})
    got = run_plain(made.proto, feed)
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-6)
    back = made.bypass(made.graph.index.keys() - model.graph.index.keys())
    whole = run_plain(model.proto, feed)
    for name, array in run_plain(back.proto, feed).items():
        np.testing.assert_array_equal(array, whole[name])


def branching() -> ModelProto:
    """A node whose subgraphs read a tensor of the graph around them."""
    inside = [
        helper.make_graph(
            [helper.make_node(op, ["t"], [f"{op}_made"])], op, [],
            [helper.make_tensor_value_info(f"{op}_made", TensorProto.FLOAT, [1, 4])],
        )
        for op in ("Neg", "Exp")
    ]  # fmt: skip
    nodes = [
        helper.make_node("Relu", ["x"], ["t"], "t"),
        helper.make_node("ReduceSum", ["x"], ["sum"], "sum", keepdims=0),
        helper.make_node("Cast", ["sum"], ["which"], "which", to=TensorProto.BOOL),
        helper.make_node(
            "If", ["which"], ["y"], "if", then_branch=inside[0], else_branch=inside[1]
        ),
    ]
    proto = model_of(nodes[:3], {"x": [1, 4]}, ["which"])
    proto.graph.node.append(nodes[3])
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4]))
    return proto


def test_subgraphs_of_a_node_read_the_chain_too() -> None:
    model = splitc.load(branching(), simplify=False)
    chain = onnx_chain(model.graph.tensors["t"])
    made = model.insert("t", chain)
    assert "t.tanh" in made.graph.layer("if").inputs
    assert "t" not in made.graph.layer("if").inputs
    x = np.array([[1.0, -2.0, 3.0, 0.5]], np.float32)
    expected = -np.tanh(np.maximum(x, 0) + np.float32(0.5))
    np.testing.assert_allclose(made.run({"x": x})["y"], expected, rtol=1e-6)
    back = made.bypass(("t.shift", "t.tanh"))
    assert str(back.graph) == str(model.graph)
    np.testing.assert_array_equal(back.run({"x": x})["y"], model.run({"x": x})["y"])


def test_an_onnx_model_refuses_what_its_graph_refuses_and_what_onnx_lacks() -> None:
    model = splitc.load(small_network(), simplify=False)
    tensor = model.graph.tensors["p1"]
    made = model.insert("p1", onnx_chain(tensor))
    cases: list[tuple[Any, list[Insertion], str, type[SplitcError], str]] = [
        (made, onnx_chain(tensor), "p1", UsageError, "'p1.shift' behind 'p1' already"),
        (model, onnx_chain(tensor), "q", UsageError, "there is no tensor 'q'"),
        (model, named(tensor, "noise"), "p1", UnsupportedOpError, "ONNX has no 'awgn'"),
    ]
    for one, chain, name, kind, match in cases:
        with pytest.raises(kind, match=match):
            one.insert(name, chain)
    again = made.bypass(("p1.shift", "p1.tanh")).insert("p1", onnx_chain(tensor))
    assert str(again.graph) == str(made.graph)
