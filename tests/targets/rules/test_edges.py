# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Corners where a rewrite, a rule or TVM's front end once gave something else than onnxruntime."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.targets.kernels.alone import BOARDS
from tests.targets.nets import Net, compiled, computed, wanted

INF, NAN = float("inf"), float("nan")
TYPES = {
    "float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
}  # fmt: skip


def network(nodes: list[Any], x: np.ndarray, result: Any = None, opset: int = 17,
            kind: str = "", **stored: Any) -> ModelProto:  # fmt: skip
    """Nodes from "x" to "y"; a node is (operator, inputs, outputs, attributes)."""
    made = [
        helper.make_node(op, ins, outs, f"{op}_{outs[0]}", **attributes)
        for op, ins, outs, attributes in nodes
    ]
    graph = helper.make_graph(
        made, "edge",
        [helper.make_tensor_value_info("x", TYPES[str(x.dtype)], x.shape)],
        [helper.make_tensor_value_info("y", TYPES[kind or str(x.dtype)], result)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def empty_places(value: float, *shape: int) -> np.ndarray:
    """Numbers with a map, and single places, of another value."""
    x = draw(*shape)
    x[0, 0] = value
    x[-1, -1, ..., 1] = value
    return x


def one(op: str, *more: str, **attributes: Any) -> list[Any]:
    return [(op, ["x", *more], ["y"], attributes)]


F32 = np.float32
CASES: dict[str, tuple[list[Any], np.ndarray, dict[str, Any]]] = {
    "the largest of maps that are all -inf": (
        one("ReduceMax", axes=[2, 3], keepdims=0), empty_places(-INF, 2, 20, 5, 6), {}
    ),
    "the largest over steps that are masked": (
        one("ReduceMax", axes=[1], keepdims=0), empty_places(-INF, 2, 7, 20), {}
    ),
    "pooling of what is all -inf": (
        one("MaxPool", kernel_shape=[2, 2], strides=[2, 2]), empty_places(-INF, 2, 20, 6, 6), {}
    ),
    "rounding by adding and subtracting": (
        [("Add", ["x", "m"], ["a"], {}), ("Sub", ["a", "m"], ["y"], {})], 4 * draw(1, 40),
        {"m": F32(12582912)},
    ),
    "factors whose product overflows": (
        [("Mul", ["x", "m"], ["a"], {}), ("Mul", ["a", "m"], ["y"], {})],
        np.array([[0.0, 1e-30, -1.0]], F32), {"m": F32(1e30)},
    ),
    "a shift whose multiple overflows": (
        [("Add", ["x", "m"], ["a"], {}), ("Mul", ["a", "f"], ["y"], {})],
        np.array([[1e38, 1.5e38]], F32), {"m": F32(-1e38), "f": F32(10)},
    ),
    "nought of either sign": (
        [("Mul", ["x", "p"], ["a"], {}), ("Mul", ["x", "n"], ["b"], {}),
         ("Div", ["one", "a"], ["c"], {}), ("Div", ["one", "b"], ["d"], {}),
         ("Concat", ["c", "d"], ["y"], {"axis": 1})],
        np.abs(draw(1, 20)), {"p": F32(0.0), "n": F32(-0.0), "one": F32(1)},
    ),
    "pooling of what is repeated": (
        [("Expand", ["x", "shape"], ["a"], {}),
         ("MaxPool", ["a"], ["y"], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]})],
        draw(1, 20, 1, 1), {"shape": np.array([1, 20, 6, 6])},
    ),
    "a depthwise convolution of what is repeated": (
        [("Expand", ["x", "shape"], ["a"], {}),
         ("Conv", ["a", "w"], ["y"], {"group": 20, "pads": [1, 1, 1, 1]})],
        draw(1, 20, 1, 1), {"shape": np.array([1, 20, 6, 6]), "w": draw(20, 1, 3, 3)},
    ),
    "division by a denormal power of two": (
        one("Div", "d"), draw(1, 20) * F32(1e-42), {"d": F32(2.0**-140)}
    ),
    "padding with another value than nought": (
        one("Pad", "widths", "value"), draw(2, 3, 5),
        {"widths": np.array([0, 1, 2, 0, 0, 3]), "value": F32(1.5)},
    ),
    "a pool of older opsets that pads by itself": (
        one("LpPool", kernel_shape=[3, 3], auto_pad="SAME_UPPER"), draw(1, 2, 5, 4), {}
    ),
    "a dilated pool of norms": (
        one("LpPool", kernel_shape=[2, 2], dilations=[2, 1], p=3), draw(1, 2, 5, 4), {"opset": 18}
    ),
    "a dilated pool of sums": (
        one("LpPool", kernel_shape=[2, 3], dilations=[1, 2], pads=[1, 0, 0, 1], p=1),
        draw(1, 3, 5, 6), {"opset": 22},
    ),
    "a bound of integers": (
        one("Clip", "low", "high"), np.arange(-20, 20, dtype=np.int32).reshape(1, 40),
        {"low": np.int32(-3), "high": np.int32(9)},
    ),
    "a bound of long integers": (
        one("Clip", "low"), np.arange(-20, 20).reshape(1, 40), {"low": np.int64(-3)}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_corner_is_as_onnxruntime_has_it(name: str) -> None:
    nodes, x, stored = CASES[name]
    proto = network(nodes, x, **stored)
    (want,) = wanted(proto, {"x": x})
    (got,) = computed(compiled(proto), proto, {"x": x})
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6, equal_nan=True)


CAUSAL = [(96, 32), (96, 48), (84, 42), (120, 60), (48, 24), (144, 48)]


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize(("length", "dilation"), CAUSAL)
def test_a_row_whose_border_takes_many_tiles_is_computed_whole(
    length: int, dilation: int, board: str
) -> None:
    """Dilated causal convolutions: as many tiles at the border as inside."""
    for x, w, attributes in (
        (draw(1, 8, length), draw(8, 8, 2), {"dilations": [dilation], "pads": [dilation, 0]}),
        (draw(1, 8, 1, length), draw(8, 8, 1, 1), {"pads": [0, 0, 0, length]}),
    ):
        proto = network(one("Conv", "w", **attributes), x, w=w)
        (want,) = wanted(proto, {"x": x})
        (got,) = computed(compiled(proto, board), proto, {"x": x})
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 4])
def test_a_very_wide_kernel_compiles_in_seconds(groups: int) -> None:
    x = draw(1, 32, 100)
    proto = network(one("Conv", "w", group=groups, pads=[64, 63]), x, w=draw(32, 32 // groups, 128))
    begun = time.monotonic()
    code = compiled(proto)
    assert time.monotonic() - begun < 60, "it took over 120 s"
    (want,), (got,) = wanted(proto, {"x": x}), computed(code, proto, {"x": x})
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)
    assert not code.fallbacks


def test_a_repeated_constant_is_not_written_out() -> None:
    x = draw(1, 2, 1024, 1)
    proto = network(
        [("Expand", ["c", "shape"], ["e"], {}), ("Add", ["x", "e"], ["y"], {})], x,
        c=draw(1, 1, 1, 1), shape=np.array([1, 2, 1024, 4096]),
    )  # fmt: skip
    code = compiled(proto)
    assert code.constant_bytes < 1e5
    (want,), (got,) = wanted(proto, {"x": x}), computed(code, proto, {"x": x})
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("axes", [(2, 3), (3,), (0,), (1, 2), (0, 1, 2, 3)])
@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_bounds_over_axes_keep_not_a_number(op: str, axes: tuple[int, ...]) -> None:
    """As numpy does; onnxruntime loses some."""
    x = empty_places(NAN, 3, 20, 5, 37)
    proto = network(one(op, axes=list(axes)), x)
    (got,) = computed(compiled(proto), proto, {"x": x})
    want = (np.max if op == "ReduceMax" else np.min)(x, axes, keepdims=True)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("opset", [9, 10])
@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_enlarging_of_older_opsets_keeps_its_places(opset: int, mode: str) -> None:
    x = draw(1, 3, 5, 6)
    op = "Upsample" if opset == 9 else "Resize"
    scales = np.array([1, 1, 2, 3], F32)
    proto = network(one(op, "scales", mode=mode), x, opset=opset, scales=scales)
    (want,) = wanted(proto, {"x": x})
    (got,) = computed(compiled(proto), proto, {"x": x})
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


BEFORE = ("Relu", ["x"], ["r"], {})
MISREAD: dict[str, tuple[list[Any], np.ndarray, dict[str, Any]]] = {
    "scales that give no whole extents": (
        [BEFORE, ("Resize", ["r", "", "s"], ["y"], {"mode": "linear"})], draw(1, 2, 5, 5),
        {"s": np.array([1, 1, 1.5, 1.5], F32)},
    ),
    "pooling padded at the upper end": (
        [BEFORE, ("MaxPool", ["r"], ["y"],
                  {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"})],
        draw(1, 1, 3, 7), {},
    ),
    "a norm over no axes": (
        [BEFORE, ("ReduceL2", ["r"], ["y"], {"noop_with_empty_axes": 1})],
        draw(2, 3), {"opset": 18},
    ),
    "one maximum of two axes": (
        [BEFORE, ("Hardmax", ["r"], ["y"], {"axis": 1})], draw(2, 3, 4), {"opset": 11},
    ),
    "a dropout's mask": (
        [BEFORE, ("Dropout", ["r"], ["d", "mask"], {}), ("Cast", ["mask"], ["f"], {"to": 1}),
         ("Add", ["d", "f"], ["y"], {})], draw(1, 8), {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISREAD)
def test_what_tvm_misreads_is_computed_all_the_same(name: str) -> None:
    nodes, x, stored = MISREAD[name]
    proto = network(nodes, x, **stored)
    (got,), (want,) = computed(compiled(proto), proto, {"x": x}), wanted(proto, {"x": x})
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("given", [{"max": 0.5}, {"min": -0.25, "max": 1.0}, {"min": 0.0}])
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_bounds_of_older_opsets_are_of_the_operands_type(dtype: Any, given: Any) -> None:
    net = Net(0, opset=10)
    x = draw(2, 20).astype(dtype)
    net.outputs = [net.op("Clip", net.input(values=x), **given)]
    proto = net.proto()
    (got,) = computed(compiled(proto), proto, net.inputs)  # onnxruntime has no such in float64
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, np.clip(x, given.get("min"), given.get("max")))
