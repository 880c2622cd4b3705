# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Depthwise convolution against onnxruntime: shapes, borders, distances, what is fused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from splitc_targets.graph.expression import Arg, Do, relu
from splitc_targets.kernels.window import depthwise
from splitc_targets.loops.fused import Operand
from tests.targets.kernels.alone import (
    BOARDS,
    KINDS,
    assert_close,
    channels_first,
    channels_last,
    machine,
    numbers,
    reference,
    run,
)

PAIRS = st.sampled_from((1, 2, 3))


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    """A depthwise convolution with at least one result, as ONNX describes it."""
    kernel = [draw(st.sampled_from((1, 2, 3, 3, 5, 7))) for _ in range(2)]
    dilation = [draw(st.sampled_from((1, 1, 2))) for _ in range(2)]
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    pads = [draw(st.integers(0, reach[axis % 2])) for axis in range(4)]
    size = [draw(st.integers(max(1, reach[a] + 1 - pads[a] - pads[a + 2]), 23)) for a in range(2)]
    return {
        "batch": draw(st.integers(1, 3)), "channels": draw(st.sampled_from((1, 3, 8, 16, 19, 37))),
        "size": size, "kernel": kernel, "dilation": dilation, "pads": pads,
        "stride": [draw(PAIRS), draw(PAIRS)],
    }  # fmt: skip


def spec_of(shape: dict[str, Any], out: tuple[int, ...], **more: Any) -> depthwise.Depthwise:
    n, c, oh, ow = out
    height, width = shape["size"]
    return depthwise.Depthwise(
        n, height, width, c, oh, ow, tuple(shape["kernel"]), tuple(shape["stride"]),
        tuple(shape["dilation"]), tuple(shape["pads"][:2]), c, width * c, height * width * c,
        c, ow * c, oh * ow * c, **more,
    )  # fmt: skip


def conv(shape: dict[str, Any], *inputs: str) -> Any:
    return helper.make_node(
        "Conv", list(inputs), ["a"], group=shape["channels"], kernel_shape=shape["kernel"],
        strides=shape["stride"], dilations=shape["dilation"], pads=shape["pads"],
    )  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@settings(deadline=None, max_examples=18)
@given(shapes(), st.sampled_from(KINDS), st.integers(0, 9))
def test_sums_are_onnxruntimes(board: str, shape: dict[str, Any], kind: str, seed: int) -> None:
    x = numbers(seed, kind, shape["batch"], shape["channels"], *shape["size"])
    w = numbers(seed + 1, "plain", shape["channels"], 1, *shape["kernel"])
    want = reference([conv(shape, "x", "w")], {"x": x}, {"w": w})
    made = depthwise.kernel("k", spec_of(shape, want.shape), machine(board))
    got = run(made, board, [channels_last(x), depthwise.pack(w)], want.size)
    assert_close(channels_first(got, want.shape), want, ulps=64)


@pytest.mark.parametrize("board", BOARDS)
@settings(deadline=None, max_examples=12)
@given(shapes(), st.integers(0, 9))
def test_what_is_fused_is_stored(board: str, shape: dict[str, Any], seed: int) -> None:
    """Bias by channel, a residual and a factor, then a rectifier."""
    c = shape["channels"]
    x = numbers(seed, "plain", shape["batch"], c, *shape["size"])
    w, b = numbers(1, "plain", c, 1, *shape["kernel"]), numbers(2, "plain", c)
    sums = reference([conv(shape, "x", "w", "b")], {"x": x}, {"w": w, "b": b})
    rest = numbers(3, "plain", *sums.shape)
    want = np.maximum(sums * np.float32(0.5) + rest, 0)
    biased = Do("add", (Arg(0), Arg(1)))
    fused = relu(Do("add", (Do("multiply", (biased, Arg(2))), Arg(3))))
    operands = (Operand("channel"), Operand("scalar"), Operand("tensor", c))
    spec = spec_of(shape, sums.shape, expression=fused, operands=operands)
    made = depthwise.kernel("k", spec, machine(board))
    half = np.full(1, 0.5, np.float32)
    handed = [channels_last(x), depthwise.pack(w), b, half, channels_last(rest)]
    got = run(made, board, handed, want.size)
    assert_close(channels_first(got, want.shape), want, ulps=64)


@pytest.mark.parametrize("board", BOARDS)
def test_large_maps_are_shared_among_cores(board: str) -> None:
    shape = {
        "batch": 1, "channels": 40, "size": [67, 45], "kernel": [3, 3], "dilation": [1, 1],
        "pads": [1, 1, 1, 1], "stride": [1, 1],
    }  # fmt: skip
    x, w = numbers(0, "plain", 1, 40, 67, 45), numbers(1, "plain", 40, 1, 3, 3)
    want = reference([conv(shape, "x", "w")], {"x": x}, {"w": w})
    made = depthwise.kernel("k", spec_of(shape, want.shape), machine(board))
    got = run(made, board, [channels_last(x), depthwise.pack(w)], want.size)
    assert_close(channels_first(got, want.shape), want)


@pytest.mark.parametrize("board", BOARDS)
def test_maps_may_lie_apart(board: str) -> None:
    """Input and result are parts of wider maps, as views of a concatenation are."""
    n, c, h, w = 2, 19, 6, 7
    wide = numbers(0, "plain", n, h, w, 3 * c)
    weights = numbers(1, "plain", c, 1, 3, 3)
    x = np.ascontiguousarray(wide[..., :c].transpose(0, 3, 1, 2))
    node = helper.make_node("Conv", ["x", "w"], ["a"], group=c, pads=[1, 1, 1, 1])
    want = reference([node], {"x": x}, {"w": weights})
    far, y = 3 * c, 2 * c
    spec = depthwise.Depthwise(
        n, h, w, c, h, w, (3, 3), (1, 1), (1, 1), (1, 1), far, w * far, h * w * far,
        y, w * y, h * w * y,
    )  # fmt: skip
    handed = wide.ravel()[: n * h * w * far - 2 * c]
    size = n * h * w * y - c
    made = depthwise.kernel("k", spec, machine(board))
    got = run(made, board, [handed, depthwise.pack(weights)], size)
    got = np.append(got, np.full(c, np.nan, np.float32)).reshape(n, h, w, y)
    assert np.isnan(got[..., c:]).all()
    assert_close(got[..., :c].transpose(0, 3, 1, 2), want)
