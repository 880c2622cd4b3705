# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Networks quantised as they run: ranges and zero points are found each time, bytes multiplied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from onnxruntime import quantization

import splitc
from splitc.bundle.bundle import require
from splitc.cost.board import load_board
from splitc_targets.machine.machine import machine_of
from tests.helpers import save, small_network
from tests.targets.emulated import emulated
from tests.targets.nets import Net, compiled, computed, wanted

Array = np.ndarray[Any, Any]


def reference(proto: ModelProto, feeds: dict[str, Array]) -> list[Array]:
    """Every result by onnx's own evaluator: onnxruntime has no ConvInteger by signed weights."""
    return [np.asarray(each) for each in ReferenceEvaluator(proto).run(None, feeds)]


def product(kind: str, net: Net) -> str:
    """A product of bytes found as it runs, by weights whose own zero point may be far from 0."""
    if kind == "matrix":
        y, scale, zero = net.ops("DynamicQuantizeLinear", net.input(2, 5, 20), results=3)
        w = net.rng.integers(-127, 128, (20, 9), np.int8)
        made = net.op("MatMulInteger", y, w, zero, np.array(0, np.int8))
    else:
        y, scale, zero = net.ops("DynamicQuantizeLinear", net.input(2, 8, 7, 9), results=3)
        groups = {"depthwise": 8, "grouped": 2}.get(kind, 1)
        w = net.rng.integers(0, 256, (16, 8 // groups, 3, 3), np.uint8)
        attrs: dict[str, Any] = {"pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]}
        if kind == "pointwise":
            w, attrs = w[:, :, :1, :1], {}
        at: Array = np.array(137, np.uint8)
        if kind in ("signed", "grouped"):
            w, at = (w.astype(int) - 128).astype(np.int8), np.array(0, np.int8)
        made = net.op("ConvInteger", y, w, zero, at, group=groups, **attrs)
    net.outputs = [made, y, zero]
    return net.op("Mul", net.op("Cast", made, to=onnx.TensorProto.FLOAT), scale)


KINDS = ("plain", "signed", "pointwise", "grouped", "depthwise", "matrix")


@pytest.mark.parametrize("kind", KINDS)
def test_the_integers_are_those_of_the_definition_bit_for_bit(kind: str) -> None:
    net = Net(len(kind))
    product(kind, net)
    proto = net.proto()
    want = reference(proto, net.inputs)
    for board in ("host", "x86-64-v2"):
        code = compiled(proto, board)
        for got, right in zip(computed(code, proto, net.inputs), want, strict=True):
            np.testing.assert_array_equal(got, right)
        bytewise = machine_of(load_board(board)).multiplying("int8") is not None
        multiplied = any(kernel.rule == "dot" for kernel in code.kernels)
        assert multiplied == (bytewise and kind != "depthwise"), kind


@pytest.mark.parametrize("values", [[0.0] * 6, [3.5] * 6, [-2.0, -1, -0.5, -2, -1, -1],
                                    [1e-38, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 255]])  # fmt: skip
def test_ranges_of_one_sign_or_of_nothing(values: list[float]) -> None:
    net = Net(0)
    x = net.input(values=np.array(values, np.float32))
    net.outputs = net.ops("DynamicQuantizeLinear", x, results=3)
    proto = net.proto()
    for got, right in zip(
        computed(compiled(proto), proto, net.inputs), wanted(proto, net.inputs), strict=True
    ):
        np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize("board", ["rpi4", "rpi5"])
def test_arm_gives_the_same_with_and_without_an_instruction_for_bytes(
    board: str, tmp_path: Path
) -> None:
    net = Net(3)
    net.outputs = [product("plain", net), product("matrix", net)]
    proto = net.proto()
    found, rules = emulated(proto, board, list(net.inputs.values()), tmp_path)
    for got, right in zip(found, reference(proto, net.inputs), strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-6)
    assert ("dot" in rules) == (board == "rpi5")


@pytest.mark.parametrize("weights", ["QUInt8", "QInt8"])
def test_what_onnxruntime_quantises_dynamically_is_cut_compiled_and_verified(
    weights: str, tmp_path: Path
) -> None:
    plain, path = save(small_network(), tmp_path / "plain.onnx"), tmp_path / "dynamic.onnx"
    kind = quantization.QuantType[weights]
    quantization.quantize_dynamic(str(plain), str(path), weight_type=kind)
    proto = onnx.load(path)
    assert {"DynamicQuantizeLinear", "ConvInteger"} <= {n.op_type for n in proto.graph.node}
    bundle = splitc.compile(path, cut="auto", head="host", output=tmp_path / "q.splitc")
    require(bundle.verify())
    x = np.random.default_rng(9).standard_normal((1, 3, 12, 12)).astype(np.float32)
    (got,), (want,) = bundle.run({"x": x}).values(), reference(proto, {"x": x})
    np.testing.assert_allclose(got, want, atol=1e-5)
