# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Models of opsets before 7, whose operators broadcast and normalise otherwise, are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import splitc
from splitc.arrays import Array


def model(node: NodeProto, stored: dict[str, Array], made: list[int]) -> ModelProto:
    graph = helper.make_graph(
        [node, helper.make_node("Relu", ["y"], ["z"])], "old",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4, 4])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, made)],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )  # fmt: skip
    graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
        for name, value in stored.items()
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=3)


ROW = np.array([0.5, -1, 2], np.float32)
CHANNEL = ROW[:, None, None]
LARGE = np.resize(np.linspace(-1, 1, 997, dtype=np.float32), (40, 3, 4, 4))


@pytest.mark.parametrize(
    ("node", "stored", "made", "right"),
    [
        (
            helper.make_node("Add", ["x", "b"], ["y"], axis=1, broadcast=1), {"b": ROW},
            [2, 3, 4, 4], lambda x: x + CHANNEL,
        ),
        (
            helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], is_test=1),
            {"s": ROW, "b": ROW, "m": ROW, "v": np.abs(ROW)}, [2, 3, 4, 4],
            lambda x: (x - CHANNEL) / np.sqrt(np.abs(CHANNEL) + 1e-5) * CHANNEL + CHANNEL,
        ),
        (
            helper.make_node("PRelu", ["x", "b"], ["y"]), {"b": -ROW}, [2, 3, 4, 4],
            lambda x: np.where(x < 0, -CHANNEL * x, x),
        ),
        (
            helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[4, 4]), {"w": LARGE},
            [2, 40, 1, 1], lambda x: np.einsum("nchw,ochw->no", x, LARGE)[:, :, None, None],
        ),
    ],
    ids=["add", "batch_normalization", "prelu", "conv"],
)  # fmt: skip
def test_it_computes_what_the_old_operators_say(
    node: NodeProto, stored: dict[str, Array], made: list[int], right: Callable[[Array], Array]
) -> None:
    """onnxruntime has no Add or BatchNormalization of before opset 7."""
    proto = model(node, stored, made)
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4), np.float32)
    (got,) = splitc.load(proto).run({"x": x}).values()
    np.testing.assert_allclose(got, np.maximum(right(x), 0), rtol=1e-4, atol=1e-5)
    assert proto.opset_import[0].version == 6


@pytest.mark.parametrize("op", ["And", "Or", "Xor", "Equal", "Greater", "Less"])
def test_truth_values_are_spread_as_old_operators_say(op: str) -> None:
    right = {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
             "Equal": np.equal, "Greater": np.greater, "Less": np.less}[op]  # fmt: skip
    kinds = {"Equal": TensorProto.INT32, "Greater": TensorProto.FLOAT, "Less": TensorProto.FLOAT}
    kind = kinds.get(op, TensorProto.BOOL)
    x = np.resize([0, 1, 1, 0, 1], (2, 3, 4)).astype(helper.tensor_dtype_to_np_dtype(kind))
    row = np.array([1, 0, 1], x.dtype)
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "b"], ["y"], axis=1, broadcast=1),
         helper.make_node("Not", ["y"], ["z"])], "old",
        [helper.make_tensor_value_info("x", kind, x.shape),
         helper.make_tensor_value_info("b", kind, row.shape)],
        [helper.make_tensor_value_info("z", TensorProto.BOOL, x.shape)],
        [numpy_helper.from_array(row, "b")],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=3)
    (got,) = splitc.load(proto).run({"x": x}).values()
    np.testing.assert_array_equal(got, ~right(x, row[:, None]))


@pytest.mark.parametrize(("op", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_old_recurrent_layers_are_today_s(op: str, gates: int) -> None:
    draw = np.random.default_rng(0).standard_normal
    stored = {"w": draw((1, gates * 4, 3)), "r": draw((1, gates * 4, 4))}
    results: list[Array] = []
    x = draw((5, 2, 3)).astype(np.float32)
    more: dict[str, Any]
    for opset, more in ((6, {"output_sequence": 1}), (7, {})):
        graph = helper.make_graph(
            [helper.make_node(op, ["x", "w", "r"], ["y"], hidden_size=4, **more)], "old",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 1, 2, 4])],
            [numpy_helper.from_array(v.astype(np.float32), k) for k, v in stored.items()],
        )  # fmt: skip
        imports = [helper.make_opsetid("", opset)]
        proto = helper.make_model(graph, opset_imports=imports, ir_version=8)
        results += splitc.load(proto).run({"x": x}).values()
    old, new = results
    np.testing.assert_array_equal(old, new)
