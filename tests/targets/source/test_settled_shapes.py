# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""What is handed in or computed decides a result's shape, and the file declares that shape: the
network is made for it, and gives what onnxruntime gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import splitc
from splitc.cost.board import load_board
from splitc.frontend.onnx.model import OnnxModel
from splitc_targets import pipeline
from splitc_targets.backend import TvmBackend
from tests.targets.nets import Array, Net, assert_same, wanted


def handed(net: Net, *values: int, dtype: str = "int64") -> str:
    """An input whose value is given at run time; one value is a scalar."""
    return net.input(values=np.array(values if len(values) != 1 else values[0], dtype))


def declared(net: Net, *shape: int) -> ModelProto:
    """The model, with its results' shape declared."""
    proto = net.proto()
    for value in proto.graph.output:
        kind = value.type.tensor_type.elem_type
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, shape))
    return proto


def assert_given(proto: ModelProto, inputs: dict[str, Array]) -> None:
    """Read, lowered and compiled, it gives what onnxruntime gives."""
    model = splitc.load(proto, simplify=False)
    assert isinstance(model, OnnxModel)
    assert TvmBackend().unsupported(model) == []
    code = pipeline.compile_module(TvmBackend().lower(model), load_board("host"))
    got = code.here()(*(inputs[value.name] for value in model.proto.graph.input))
    assert_same(got, wanted(proto, inputs))


def ranged(net: Net) -> tuple[list[str], list[int]]:
    return [net.op("Range", *(handed(net, n) for n in (9, 2, -3)))], [3]


def ranged_floats(net: Net) -> tuple[list[str], list[int]]:
    """The range's own length is open; what is made of it has the declared one."""
    start, limit, delta = (net.input(values=np.array(n, np.float32)) for n in (0.5, 3.2, 0.75))
    places = net.op("Cos", net.op("Range", start, limit, delta))
    return [net.op("Mul", net.op("Sub", places, net.op("Neg", places)), start)], [4]


def filled(net: Net) -> tuple[list[str], list[int]]:
    shape = handed(net, 2, 3, 4)
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [2.5])
    return [net.op("ConstantOfShape", shape, value=value)], [2, 3, 4]


def expanded(net: Net) -> tuple[list[str], list[int]]:
    return [net.op("Expand", net.input(3, 1), handed(net, 2, 1, 5))], [2, 3, 5]


def tiled(net: Net) -> tuple[list[str], list[int]]:
    return [net.op("Tile", net.input(3, 2), handed(net, 2, 3))], [6, 6]


def reshaped(net: Net) -> tuple[list[str], list[int]]:
    return [net.op("Reshape", net.input(3, 4), handed(net, 2, -1))], [2, 6]


def one_hot(net: Net) -> tuple[list[str], list[int]]:
    index = net.input(values=np.array([0, 4, -1]))
    return [net.op("OneHot", index, handed(net, 5), np.array([-1, 7], np.float32), axis=0)], [5, 3]


def best(net: Net) -> tuple[list[str], list[int]]:
    count = net.input(values=np.array([3]))
    return net.ops("TopK", net.input(2, 9), count, results=2), [2, 3]


def windowed(net: Net) -> tuple[list[str], list[int]]:
    return [net.op("HannWindow", handed(net, 12), periodic=0)], [12]


@pytest.mark.parametrize(
    "write",
    [ranged, ranged_floats, filled, expanded, tiled, reshaped, one_hot, best, windowed],
)
def test_a_declared_result_settles_what_decides_it(
    write: Callable[[Net], tuple[list[str], list[int]]],
) -> None:
    net = Net(0)
    net.outputs, shape = write(net)
    assert_given(declared(net, *shape), net.inputs)


def test_a_loop_turns_as_often_as_its_rows_are_declared() -> None:
    net = Net(0)
    kinds = {"turn": TensorProto.INT64, "still": TensorProto.BOOL, "now": TensorProto.FLOAT}
    takes = [helper.make_tensor_value_info(name, kind, []) for name, kind in kinds.items()]
    nodes = [
        helper.make_node("Identity", ["still"], ["goes_on"]),
        helper.make_node("Add", ["now", "now"], ["next"]),
        helper.make_node("Sqrt", ["now"], ["row"]),
    ]
    gives = [
        helper.make_tensor_value_info(name, kind, [])
        for name, kind in (("goes_on", TensorProto.BOOL), ("next", TensorProto.FLOAT),
                           ("row", TensorProto.FLOAT))
    ]  # fmt: skip
    body = helper.make_graph(nodes, "turn", takes, gives)
    count, first = handed(net, 4), net.input(values=np.array(3, np.float32))
    net.outputs = net.ops("Loop", count, np.array(True), first, results=2, body=body)[1:]
    assert_given(declared(net, 4), net.inputs)


def test_an_axis_may_be_a_scalar() -> None:
    net = Net(0)
    net.outputs = [net.op("Unsqueeze", net.op("Relu", net.input(3, 4)), np.array(1))]
    assert_given(net.proto(), net.inputs)


def test_dropout_that_drops_nothing_may_say_that_it_trains() -> None:
    net = Net(0)
    net.outputs = net.ops(
        "Dropout", net.input(3, 4), np.array(0, np.float32), np.array(True), results=2
    )
    assert_given(net.proto(), net.inputs)


def test_a_branch_that_is_always_taken_says_what_an_if_gives() -> None:
    """The other branch gives another shape; a stored size decides which one is taken."""

    def branch(name: str, *axes: int) -> Any:
        stored = helper.make_tensor(f"{name}.axes", TensorProto.INT64, [len(axes)], axes)
        node = helper.make_node("Unsqueeze", ["front", f"{name}.axes"], [name])
        gives = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([node], name, [], [gives], [stored])

    net = Net(0)
    x = net.input(2, 3)
    net.nodes.append(helper.make_node("Relu", [x], ["front"]))
    small = net.op("Equal", net.op("Size", x), np.array(6))
    made = net.op("If", small, then_branch=branch("a", 0), else_branch=branch("b", 0, 1))
    net.outputs = [net.op("Tile", made, np.array([2, 1, 1]))]
    assert_given(net.proto(), net.inputs)


@pytest.mark.parametrize("threshold", [0.0, 0.5, -1.5])
def test_a_binarizer_s_ones_are_what_is_above_its_threshold(threshold: float) -> None:
    net = Net(0)
    values = np.array([[threshold, -1, 0], [1, 2, 3]], np.float32)
    _classical(net, "Binarizer", net.input(values=values), threshold=threshold)


def test_a_scaler_moves_and_scales_features() -> None:
    net = Net(0)
    _classical(net, "Scaler", net.input(5, 3), offset=[0.5, -1.0, 2.0], scale=[2.0, 0.25, -3.0])


@pytest.mark.parametrize("shape", [(6,), (2, 6), (3, 2, 6)])
def test_features_are_picked_by_their_places(shape: tuple[int, ...]) -> None:
    net = Net(0)
    places = net.input(values=np.array([4, 0, 4]))
    _classical(net, "ArrayFeatureExtractor", net.input(*shape), places)


def _classical(net: Net, op: str, *inputs: str, **attributes: Any) -> None:
    node = helper.make_node(op, inputs, ["y"], domain="ai.onnx.ml", **attributes)
    kinds = {name: helper.np_dtype_to_tensor_dtype(a.dtype) for name, a in net.inputs.items()}
    takes = [
        helper.make_tensor_value_info(name, kinds[name], a.shape)
        for name, a in net.inputs.items()
    ]  # fmt: skip
    first = net.inputs[inputs[0]].shape
    shape = first if len(inputs) == 1 else (*(first[:-1] or (1,)), *net.inputs[inputs[1]].shape)
    gives = [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)]
    graph = helper.make_graph([node], "g", takes, gives)
    opsets = [helper.make_opsetid("ai.onnx.ml", 3)]
    assert_given(helper.make_model(graph, opset_imports=opsets, ir_version=8), net.inputs)
