# SPDX-License-Identifier: Apache-2.0
"""Results of every kind, cut wherever a network may be: right, and never a part without inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import splitc
from splitc.errors import BadModelError
from splitc.frontend.onnx.model import OnnxModel
from splitc.ir.cut import Cut
from splitc.search.enumerate import all_cuts
from tests.targets.nets import Net, assert_same, compiled, computed, wanted

Array = np.ndarray[Any, Any]


def _body(net: Net) -> str:
    """Two layers to cut between."""
    return net.op("Relu", net.op("Conv", net.input(1, 3, 6, 6), net.random(4, 3, 1, 1)))


def stored(net: Net) -> list[str]:
    priors = net.op("Identity", np.arange(6, dtype=np.float32).reshape(2, 3))
    return [priors, net.op("Neg", _body(net))]


def computed_from_constants(net: Net) -> list[str]:
    x = net.op("Neg", _body(net))
    row = net.op("ConstantOfShape", np.array([2, 3], np.int64))
    return [x, net.op("Add", row, np.array([0.25], np.float32))]


def shape(net: Net) -> list[str]:
    x = _body(net)
    return [net.op("Shape", x), net.op("Neg", x), net.op("Size", x)]


def prior_boxes(net: Net) -> list[str]:
    x = _body(net)
    boxes = net.op("ConstantOfShape", net.op("Shape", x))
    return [net.op("Neg", x), net.op("Add", boxes, np.array([0.5], np.float32))]


def part_of_a_shape(net: Net) -> list[str]:
    x = _body(net)
    return [net.op("Shape", x, start=-2), net.op("Shape", x, start=1, end=3), net.op("Neg", x)]


def an_input(net: Net) -> list[str]:
    x = _body(net)
    return [net.op("Identity", next(iter(net.inputs))), net.op("Neg", x)]


def the_same_twice(net: Net) -> list[str]:
    x = net.op("Neg", _body(net))
    return [net.op("Identity", x), net.op("Identity", x), x]


def what_crosses(net: Net) -> list[str]:
    x = _body(net)
    return [x, net.op("Neg", x)]


def early_and_stored(net: Net) -> list[str]:
    x = _body(net)
    return [net.op("Abs", x), net.op("Identity", np.ones((2,), np.float32)), net.op("Neg", x)]


def picked(net: Net) -> list[str]:
    x, mask = _body(net), np.array([True, False, True])
    rows = net.op("Compress", x, mask, axis=1)
    some = net.op("Compress", x, np.array([False, True, True, False, True]))
    places = net.op("NonZero", np.array([[0, 2], [3, 0]], np.float32))
    return [net.op("Neg", rows), net.op("Abs", some), net.op("Identity", places)]


RESULTS = (picked, stored, computed_from_constants, shape, prior_boxes, part_of_a_shape, an_input,
           the_same_twice, what_crosses, early_and_stored)  # fmt: skip


def loaded(results: Callable[[Net], list[str]]) -> tuple[Net, OnnxModel]:
    """The network as it is written, and loaded without onnxsim."""
    net = Net(0)
    net.outputs = results(net)
    return net, splitc.load(net.proto(), simplify=False)


def split_results(net: Net, model: OnnxModel, cut: Cut, run: Callable[..., Any]) -> list[Array]:
    """The network's results by its two parts."""
    known = dict(net.inputs)
    for part in model.split(cut):
        assert part.graph.inputs
        feed = {tensor.name: known[tensor.name] for tensor in part.graph.inputs}
        known |= dict(zip(part.graph.outputs, run(part.proto, feed), strict=True))
    return [known[name] for name in net.outputs]


@pytest.mark.parametrize("results", RESULTS)
def test_every_cut_gives_what_the_network_gives(results: Callable[[Net], list[str]]) -> None:
    net, model = loaded(results)
    want = wanted(net.proto(), net.inputs)
    cuts = all_cuts(model.graph, 1000)
    assert cuts
    for cut in cuts:
        if cut.why_not() is None:
            assert_same(split_results(net, model, cut, wanted), want)


@pytest.mark.parametrize("results", RESULTS)
def test_the_parts_compile(results: Callable[[Net], list[str]]) -> None:
    net, model = loaded(results)
    cut = Cut.after(model.graph, [model.graph.layers[1].name])

    def run(proto: ModelProto, feed: dict[str, Array]) -> list[Array]:
        return computed(compiled(proto), proto, feed)

    assert_same(split_results(net, model, cut, run), wanted(net.proto(), net.inputs))


def test_a_network_whose_results_are_all_constant_has_nothing_to_split() -> None:
    net = Net(0)
    net.input(2, 3)
    net.outputs = [net.op("Identity", np.ones((2,), np.float32))]
    with pytest.raises(BadModelError, match="the same whatever"):
        splitc.load(net.proto(), simplify=False)


def test_a_result_may_bear_an_input_s_name() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Neg", ["r"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y, x])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = splitc.load(proto, simplify=False)
    feed = {"x": np.array([[1, -2, 3], [-4, 5, 6]], np.float32)}
    head, tail = model.split(Cut.after(model.graph, ["r"]))
    known = feed | head.run(feed)
    known |= tail.run({t.name: known[t.name] for t in tail.graph.inputs})
    np.testing.assert_array_equal(known["y"], -np.maximum(feed["x"], 0))
    np.testing.assert_array_equal(known["x"], feed["x"])
