# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Networks in float16: computed in float32, or in float16 where the core multiplies such."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto
from onnxruntime.transformers.float16 import convert_float_to_float16

import splitc
from splitc.bundle.bundle import require
from tests.helpers import save
from tests.targets.emulated import emulated
from tests.targets.nets import Array, Net, compiled, computed, wanted


def network() -> Net:
    """Convolutions of several depths, with what is fused and read beside, pooling, products."""
    net = Net(3)
    x = net.input(2, 3, 21, 19)
    y = net.op("Conv", x, net.random(40, 3, 3, 3) / 5, net.random(40), strides=[2, 2])
    y = net.op("Relu", y)
    z = net.op("Conv", y, net.random(40, 40, 3, 3) / 19, net.random(40), pads=[1, 1, 1, 1])
    z = net.op("Clip", z, f32(0), f32(6))
    z = net.op("Conv", z, net.random(40, 1, 3, 3) / 3, group=40, pads=[1, 1, 1, 1])
    z = net.op("Add", net.op("Conv", z, net.random(40, 40, 1, 1) / 6), y)
    w = net.op("Conv", z, net.random(300, 40, 1, 1) / 6, net.random(300))
    w = net.op("MaxPool", net.op("Sigmoid", w), kernel_shape=[3, 3], strides=[2, 2])
    w = net.op("Conv", w, net.random(70, 150, 1, 2) / 12, group=2)
    net.outputs = [z, net.op("Softmax", w, axis=1)]
    w = net.op("Flatten", net.op("GlobalAveragePool", w))
    w = net.op("Gemm", w, net.random(33, 70) / 8, net.random(33), transB=1)
    net.outputs.append(net.op("Tanh", w))
    return net


def in_half(net: Net) -> tuple[ModelProto, dict[str, Array], list[Array]]:
    """The model in float16, inputs, and what the same numbers give in float32."""
    made = convert_float_to_float16(net.proto())
    for name, weights in net.weights.items():
        net.weights[name] = rounded(weights)
    net.inputs = {name: rounded(values) for name, values in net.inputs.items()}
    feed = {name: values.astype(np.float16) for name, values in net.inputs.items()}
    return made, feed, wanted(net.proto(), net.inputs)


def f32(value: float) -> Array:
    """A number."""
    return np.array(value, np.float32)


def rounded(values: Array) -> Array:
    """The nearest float16, as float32."""
    return values.astype(np.float16).astype(np.float32)


def assert_near(got: list[Array], want: list[Array], bound: float) -> None:
    """Within a share of the largest."""
    for a, b in zip(got, want, strict=True):
        assert a.dtype == np.float16
        assert float(np.abs(a.astype(np.float32) - b).max()) <= bound * float(np.abs(b).max())


@pytest.mark.parametrize("board", ["host", "x86-64-v2"])
def test_kernels_for_float32_compute_it(board: str) -> None:
    proto, feed, want = in_half(network())
    code = compiled(proto, board)
    assert code.fallbacks == ()
    assert "half" not in {kernel.rule for kernel in code.kernels}
    assert_near(computed(code, proto, feed), want, 2**-11)


@pytest.mark.slow
def test_a_core_that_multiplies_float16_does(tmp_path: Path, qemu: None) -> None:
    proto, feed, want = in_half(network())
    got, rules = emulated(proto, "rpi5", list(feed.values()), tmp_path)
    assert rules >= {"half", "depthwise", "pool"}
    # Rounding numbers up to 8 to float16 moves their exponentials by up to 2^-8 of them.
    assert_near(got, want, 2**-7)


@pytest.mark.slow
def test_other_arm_cores_compute_it_in_float32(tmp_path: Path, qemu: None) -> None:
    proto, feed, want = in_half(network())
    got, rules = emulated(proto, "rpi4", list(feed.values()), tmp_path)
    assert "half" not in rules
    assert_near(got, want, 2**-11)


def test_tensors_between_kernels_take_half_the_memory_there() -> None:
    net = Net(0)
    y = net.op("Conv", net.input(1, 32, 24, 24), net.random(64, 32, 1, 1) / 6)
    for _ in range(3):
        z = net.op("Relu", net.op("Conv", y, net.random(64, 64, 3, 3) / 24, pads=[1, 1, 1, 1]))
        y = net.op("Add", net.op("Conv", z, net.random(64, 64, 1, 1) / 8), y)
    net.outputs = [net.op("GlobalAveragePool", y)]
    whole = compiled(net.proto(), "rpi5")
    half = compiled(convert_float_to_float16(net.proto()), "rpi5")
    assert half.fallbacks == ()
    assert half.activation_bytes < 0.6 * whole.activation_bytes
    assert half.constant_bytes < 0.6 * whole.constant_bytes


@pytest.mark.slow
def test_a_network_in_float16_is_split_and_verified(tmp_path: Path, qemu: None) -> None:
    net = network()
    net.outputs = net.outputs[:1]
    path = save(convert_float_to_float16(net.proto()), tmp_path / "half.onnx")
    bundle = splitc.compile(path, cut="auto", head="rpi5", tail="host", output=tmp_path / "h")
    assert {tensor.dtype for tensor in bundle.manifest.route.crosses} == {"float16"}
    require(bundle.verify())


def test_what_no_rule_knows_has_its_own_type() -> None:
    """TVM's loops for such are written for float16."""
    net, region = Net(0), np.array([[0, 0, 0, 4, 3]], np.float32)
    pooled = net.op("MaxRoiPool", net.input(1, 2, 5, 6), region, pooled_shape=[3, 3])
    y = net.op("Mul", pooled, f32(0.5))
    net.outputs = [net.op("Trilu", y, upper=0), net.op("Exp", y)]
    want = wanted(net.proto(), net.inputs)
    proto = convert_float_to_float16(net.proto(), op_block_list=[])
    feed = {name: values.astype(np.float16) for name, values in net.inputs.items()}
    code = compiled(proto)
    assert code.fallbacks
    assert_near(computed(code, proto, feed), want, 2**-9)
