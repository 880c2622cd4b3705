# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Pooling against onnxruntime: windows at the border and beyond it, divisors, whole maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from splitc_targets.graph.expression import Arg, Do, relu
from splitc_targets.kernels.window import pool
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

KIND = st.sampled_from(KINDS)
SIDES = {"max": "MaxPool", "mean": "AveragePool"}


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    """A pooling with at least one result, as ONNX describes it."""
    kernel = [draw(st.integers(1, 5)) for _ in range(2)]
    dilation = [draw(st.sampled_from((1, 1, 2))) for _ in range(2)]
    pads = [draw(st.integers(0, kernel[axis % 2] - 1)) for axis in range(4)]
    least = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    return {
        "batch": draw(st.integers(1, 3)), "channels": draw(st.sampled_from((1, 3, 8, 16, 19, 37))),
        "size": [draw(st.integers(least[a], 21)) for a in range(2)], "kernel_shape": kernel,
        "dilations": dilation, "pads": pads,
        "strides": [draw(st.integers(1, 3)) for _ in range(2)],
        "ceil_mode": draw(st.integers(0, 1)),
    }  # fmt: skip


def spec_of(shape: dict[str, Any], out: tuple[int, ...], **more: Any) -> pool.Pool:
    n, c, oh, ow = out
    height, width = shape["size"]
    return pool.Pool(
        n, height, width, c, oh, ow, tuple(shape["kernel_shape"]), tuple(shape["strides"]),
        tuple(shape["dilations"]), tuple(shape["pads"][:2]), c, width * c, height * width * c,
        c, ow * c, oh * ow * c, pad_after=tuple(shape["pads"][2:]), **more,
    )  # fmt: skip


def attributes(shape: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in shape.items() if k not in ("batch", "channels", "size")}


@pytest.mark.parametrize("board", BOARDS)
@settings(deadline=None, max_examples=12)
@given(shapes(), KIND, st.integers(0, 9))
def test_largest_values_are_onnxruntimes(
    board: str, shape: dict[str, Any], kind: str, seed: int
) -> None:
    x = numbers(seed, kind, shape["batch"], shape["channels"], *shape["size"])
    node = helper.make_node("MaxPool", ["x"], ["y"], **attributes(shape))
    want = reference([node], {"x": x}, {})
    made = pool.kernel("k", spec_of(shape, want.shape, kind="max"), machine(board))
    got = channels_first(run(made, board, [channels_last(x)], want.size), want.shape)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("board", BOARDS)
@settings(deadline=None, max_examples=12)
@given(shapes(), KIND, st.booleans(), st.integers(0, 9))
def test_means_are_onnxruntimes(
    board: str, shape: dict[str, Any], kind: str, padding: bool, seed: int
) -> None:
    x = numbers(seed, kind, shape["batch"], shape["channels"], *shape["size"])
    node = helper.make_node(
        "AveragePool", ["x"], ["y"], count_include_pad=int(padding), **attributes(shape)
    )
    want = reference([node], {"x": x}, {}, opset=19)
    spec = spec_of(shape, want.shape, kind="mean", count_padding=padding)
    made = pool.kernel("k", spec, machine(board))
    got = run(made, board, [channels_last(x)], want.size)
    assert_close(channels_first(got, want.shape), want)


@pytest.mark.parametrize("kind", SIDES)
@pytest.mark.parametrize("board", BOARDS)
def test_what_is_fused_is_stored(board: str, kind: str) -> None:
    shape = {
        "batch": 2, "channels": 21, "size": [9, 30], "kernel_shape": [3, 3], "strides": [2, 2],
        "dilations": [1, 1], "pads": [1, 1, 1, 1],
    }  # fmt: skip
    x, b = numbers(0, "plain", 2, 21, 9, 30), numbers(1, "plain", 21)
    node = helper.make_node(SIDES[kind], ["x"], ["y"], **attributes(shape))
    want = np.maximum(reference([node], {"x": x}, {}, opset=19) + b[:, None, None], 0)
    fused = relu(Do("add", (Arg(0), Arg(1))))
    operands = (Operand("channel"),)
    spec = spec_of(shape, want.shape, kind=kind, expression=fused, operands=operands)
    got = run(pool.kernel("k", spec, machine(board)), board, [channels_last(x), b], want.size)
    assert_close(channels_first(got, want.shape), want)


@pytest.mark.parametrize("board", BOARDS)
@settings(deadline=None, max_examples=12)
@given(
    st.integers(1, 3), st.integers(1, 11), st.integers(1, 11), st.integers(1, 150), KIND,
    st.sampled_from(("mean", "max")), st.integers(0, 9),
)  # fmt: skip
def test_whole_maps_are_onnxruntimes(
    board: str, n: int, h: int, w: int, c: int, kind: str, of: str, seed: int
) -> None:
    x, b = numbers(seed, kind, n, c, h, w), numbers(seed + 1, kind, n, c)
    name = "GlobalAveragePool" if of == "mean" else "GlobalMaxPool"
    want = reference([helper.make_node(name, ["x"], ["y"])], {"x": x}, {})[:, :, 0, 0] + b
    spec = pool.Whole(
        n, h * w, c, c, h * w * c, c, of, Do("add", (Arg(0), Arg(1))), (Operand("tensor", c),)
    )
    made = pool.whole_kernel("k", spec, machine(board))
    got = run(made, board, [channels_last(x), b.ravel()], n * c).reshape(n, c)
    scale = np.abs(x).max() / max(np.abs(want).max(), np.float32(1e-45))
    assert_close(got, want, ulps=16 * max(1.0, float(scale)))
