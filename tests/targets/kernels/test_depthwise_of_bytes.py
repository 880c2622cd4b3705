# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Depthwise convolutions of bytes by products of four: the integers that onnxruntime gives."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from splitc.cost.board import Board, load_board, why_not_here
from splitc_targets import pipeline
from splitc_targets.kernels.window import bytes as window_bytes
from splitc_targets.kernels.window.geometry import Windows
from splitc_targets.tvm import adapter
from tests.targets.emulated import emulated
from tests.targets.kernels.test_dot import Quantised
from tests.targets.nets import computed

FEATURE = "+avx512vnni"
needs_dot = pytest.mark.skipif(
    bool(why_not_here("x86_64", "x86-64-v4", [FEATURE])),
    reason="this processor has no products of bytes",
)


def narrow() -> Board:
    """An x86-64 board whose products of bytes have vectors of 128 bits, as AArch64's do."""
    board = load_board("x86-64-v4")
    row = {
        "name": "vpdpbusd.128", "feature": FEATURE, "reads": "uint8", "weights": "int8",
        "sums": "int32", "group": 4, "lanes": 4, "intrinsic": "llvm.x86.avx512.vpdpbusd.128",
        "operands": ["sums", "reads", "weights"],
    }  # fmt: skip
    unit = msgspec.structs.replace(
        board.processor, features=(FEATURE, "+avx512vl"), core={"multiply_adds": [row]}
    )
    return msgspec.structs.replace(board, unit=unit, cores=2)


def any_convolution(rng: np.random.Generator, net: Quantised) -> str:
    """One of any channels, kernel, stride, dilation, padding, zero points and types."""
    while True:
        channels = int(rng.choice([2, 5, 8, 16, 24, 33, 48]))
        kernel, strides = rng.integers(1, 6, 2), rng.integers(1, 4, 2)
        dilations, pads = rng.integers(1, 3, 2), rng.integers(0, 4, 4)
        size = rng.integers(1, 18, 2)
        if all(size + pads[:2] + pads[2:] >= (kernel - 1) * dilations + 1):
            break
    dtype = np.int8 if rng.random() < 0.3 else np.uint8
    limits = np.iinfo(dtype)
    kernel, zero = (int(kernel[0]), int(kernel[1])), int(rng.integers(limits.min, limits.max))
    x = net.input(int(rng.integers(1, 3)), channels, *map(int, size), dtype=dtype)
    y = net.conv(
        x, channels, channels, kernel, zero, dtype, bool(rng.random() < 0.5),
        group=channels, strides=strides.tolist(),
        dilations=dilations.tolist(), pads=pads.tolist(),
    )  # fmt: skip
    net.result(y, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    return y


@pytest.mark.slow
def test_on_a_core_with_dot_products(tmp_path: Path, qemu: None) -> None:
    """Two dozen of any form, and what stands between products as in a MobileNet."""
    rng, net = np.random.default_rng(0), Quantised(0)
    for _ in range(24):
        any_convolution(rng, net)
    x = net.conv(net.input(1, 8, 14, 14), 8, 32, (1, 1), 3)
    y = net.conv(x, 32, 32, (3, 3), 0, group=32, pads=[1, 1, 1, 1])
    net.result(net.conv(y, 32, 8, (1, 1), 5))
    found, rules = emulated(net.proto(), "rpi5", list(net.inputs.values()), tmp_path)
    assert "depthwise_dot" in rules
    assert "depthwise" not in rules
    for got, want in zip(found, net.wanted(), strict=True):
        np.testing.assert_array_equal(got, want)


@needs_dot
@settings(max_examples=24, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_on_vectors_of_128_bits(seed: int) -> None:
    net = Quantised(seed % 2**16)
    any_convolution(np.random.default_rng(seed), net)
    proto = net.proto()
    code = pipeline.compile_module(adapter.lower(proto), narrow())
    assert "depthwise_dot" in {kernel.rule for kernel in code.kernels} or not net.wanted()[0].size
    np.testing.assert_array_equal(computed(code, proto, net.inputs)[0], net.wanted()[0])


@needs_dot
def test_a_map_whose_bytes_have_none_for_zero_is_computed_in_floats() -> None:
    """Numbers from 5 to 255 are held as bytes, but what lies outside of the map is 0."""
    net = Quantised(0)
    x, scale, zero = net.input(1, 16, 6, 6), net.keep(1.0, np.float32), net.keep(0, np.uint8)
    net.inputs[x] = np.random.default_rng(0).integers(0, 256, (1, 16, 6, 6)).astype(np.uint8)
    y = net.op("DequantizeLinear", x, scale, zero)
    y = net.op("Clip", net.op("Add", y, net.keep(np.float32(140))), net.keep(np.float32(140)),
               net.keep(np.float32(395)))  # fmt: skip
    w = net.keep(net.rng.integers(-127, 128, (16, 1, 3, 3)), np.int8)
    w = net.op("DequantizeLinear", w, scale, net.keep(0, np.int8))
    y = net.op("Conv", y, w, group=16, pads=[1, 1, 1, 1])
    net.result(y, TensorProto.FLOAT)
    proto = net.proto()
    code = pipeline.compile_module(adapter.lower(proto), narrow())
    assert "depthwise" in {kernel.rule for kernel in code.kernels}
    np.testing.assert_array_equal(computed(code, proto, net.inputs)[0], net.wanted()[0])


def geometries() -> list[Windows]:
    made: list[Windows] = []
    for wide in (1, 2, 3, 4, 5, 7, 9):
        for stride in (1, 2, 3):
            for dilation in (1, 2):
                width = 23 + (wide - 1) * dilation
                out = (width - (wide - 1) * dilation - 1) // stride + 1
                made.append(Windows(
                    1, 1, width, 16, 1, out, (1, wide), (1, stride), (1, dilation), (0, 0),
                    16, 16 * width, 0, 16, 16 * out, 0,
                ))  # fmt: skip
    return made


@pytest.mark.parametrize("spec", geometries(), ids=lambda s: f"{s.kernel} {s.stride} {s.dilation}")
def test_every_tap_of_a_result_is_met_once(spec: Windows) -> None:
    """And a window that one quadruple can cover is covered by one."""
    for run in window_bytes.runs(spec):
        for result in range(run.size):
            own = [m for m in window_bytes.meetings(spec, run) if m.result == result]
            met = [
                (kc, m.first + k * spec.dilation[1])
                for m in own for k, kc in enumerate(m.pattern) if kc is not None
            ]  # fmt: skip
            step, apart = spec.stride[1], spec.dilation[1]
            assert sorted(met) == [(kc, result * step + kc * apart) for kc in range(spec.kernel[1])]
            assert len(own) == 1 or spec.kernel[1] > 4
