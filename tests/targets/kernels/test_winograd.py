# SPDX-License-Identifier: Apache-2.0
# pyright: basic
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tvm
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from splitc.cost.board import load_board
from splitc_targets.graph.expression import Arg, Do, Expression, relu
from splitc_targets.kernels import ways
from splitc_targets.kernels.choice import Choice
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.kernels.winograd import filters as winograd_filters
from splitc_targets.kernels.winograd import kernel as winograd
from splitc_targets.kernels.winograd.form import Form
from splitc_targets.kernels.winograd.plan import filter_size
from splitc_targets.loops import emit
from splitc_targets.loops.fused import Operand
from splitc_targets.machine.machine import Machine, machine_of
from splitc_targets.tvm import adapter

Array = np.ndarray[Any, Any]

_HOST = load_board("host").processor.cpu
BOARDS = [
    "x86-64-v2",
    *(["x86-64-v3"] if _HOST.endswith(("v3", "v4")) else []),
    *(["x86-64-v4"] if _HOST.endswith("v4") else []),
]
pytestmark = pytest.mark.skipif(not _HOST.startswith("x86-64"), reason="code for x86-64 is run")

EPILOGUES: dict[str, tuple[Expression, tuple[str, ...]]] = {
    "plain": (Arg(0), ()),
    "bias": (Do("add", (Arg(0), Arg(1))), ("channel",)),
    "residual": (
        relu(Do("add", (Do("add", (Arg(0), Arg(1))), Arg(2)))),
        ("channel", "tensor"),
    ),
    "scaled": (Do("multiply", (Arg(0), Arg(1))), ("scalar",)),
}


def conv_of(
    batch: int, size: tuple[int, int], channels: tuple[int, int], pads: tuple[int, int, int, int],
    epilogue: str = "plain", stride: int = 1,
) -> Conv:  # fmt: skip
    (height, width), (c, oc) = size, channels
    top, left, bottom, right = pads
    oh, ow = (height + top + bottom - 3) // stride + 1, (width + left + right - 3) // stride + 1
    expression, kinds = EPILOGUES[epilogue]
    return Conv(
        batch, height, width, c, 1, oh, ow, oc, (3, 3), (stride, stride), (1, 1), (top, left),
        x_pixel=c, x_row=width * c, x_image=height * width * c, x_channel=1,
        y_pixel=oc, y_row=ow * oc, y_image=oh * ow * oc,
        expression=expression, operands=tuple(Operand(kind, oc) for kind in kinds),
    )  # fmt: skip


def computed(
    board: str, conv: Conv, m: int, x: Array, weights: Array, operands: list[Array]
) -> Array:
    """The kernel's result; the scratch holds not-a-number, so that reading it unset shows."""
    machine = machine_of(load_board(board))
    target = adapter.target_of(load_board(board))
    filters = emit.compile_alone(winograd_filters.kernel("k", conv, machine, m), target)
    size = filter_size(conv, machine, m)
    packed = tvm.runtime.tensor(np.full(size, np.nan, np.float32))
    plain = winograd_filters.plain(weights, conv, machine, m)
    filters["main"](tvm.runtime.tensor(plain.ravel()), packed)
    library = emit.compile_alone(winograd.kernel("k", conv, machine, m, size), target)
    scratch = np.full(winograd.workspace(conv, machine, m), np.nan, np.float32)
    y = tvm.runtime.tensor(
        np.full(conv.batch * conv.out_height * conv.out_width * conv.out_channels, np.nan, "f")
    )
    first, *rest = [
        tvm.runtime.tensor(np.ascontiguousarray(a).ravel()) for a in (x, *operands, scratch)
    ]
    library["main"](first, packed, *rest, y)
    return y.numpy().reshape(conv.batch, conv.out_height, conv.out_width, conv.out_channels)


def convolved(
    x: Array, weights: Array, pads: tuple[int, int, int, int], stride: tuple[int, int]
) -> Array:
    """What onnxruntime computes, channels-last."""
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=list(pads), strides=list(stride))
    nchw = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    float32 = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", float32, nchw.shape)],
        [helper.make_tensor_value_info("y", float32, None)],
        [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (y,) = session.run(None, {"x": nchw})
    return np.asarray(y).transpose(0, 2, 3, 1)


def fused(epilogue: str, y: Array, operands: list[Array]) -> Array:
    if epilogue == "bias":
        return y + operands[0]
    if epilogue == "residual":
        return np.maximum(y + operands[0] + operands[1], 0)
    return y * operands[0] if epilogue == "scaled" else y


sizes = st.integers(1, 40)
pad = st.integers(0, 2)


@pytest.mark.parametrize("board", BOARDS)
@settings(max_examples=6, deadline=None)
@given(
    batch=st.integers(1, 3),
    size=st.tuples(sizes, sizes),
    channels=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    pads=st.tuples(pad, pad, pad, pad),
    form=st.sampled_from((Form(2), Form(4), Form(4, 2))),
    epilogue=st.sampled_from(sorted(EPILOGUES)),
)
@example(1, (14, 14), (64, 64), (1, 1, 1, 1), Form(4), "residual")
@example(3, (13, 7), (19, 37), (0, 2, 1, 1), Form(4), "residual")
@example(2, (31, 9), (5, 67), (2, 1, 0, 2), Form(2), "scaled")
@example(1, (28, 28), (32, 40), (1, 1, 1, 1), Form(4, 2), "residual")
@example(2, (27, 14), (19, 37), (0, 1, 2, 0), Form(4, 2), "residual")
def test_the_result_is_onnxruntimes(
    board: str, batch: int, size: tuple[int, int], channels: tuple[int, int],
    pads: tuple[int, int, int, int], form: Form, epilogue: str,
) -> None:  # fmt: skip
    size = max(size[0], 3 - pads[0] - pads[2]), max(size[1], 3 - pads[1] - pads[3])
    conv = conv_of(batch, size, channels, pads, epilogue, form.stride)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *size, channels[0]), np.float32)
    weights = rng.standard_normal((channels[1], channels[0], 3, 3), np.float32)
    y = convolved(x, weights, pads, (form.stride, form.stride))
    shapes = {"channel": (channels[1],), "tensor": y.shape, "scalar": (1,)}
    operands = [rng.standard_normal(shapes[o.kind], np.float32) for o in conv.operands]
    wanted = fused(epilogue, y, operands)
    found = computed(board, conv, form.m, x, weights, operands)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * max(1, np.abs(y).max()))


@pytest.mark.parametrize(("form", "bound"), [(Form(2), 2e-6), (Form(4), 1e-5), (Form(4, 2), 4e-6)])
def test_the_error_at_512_channels_is_bounded(form: Form, bound: float) -> None:
    step, side = form.stride, 8 * form.stride
    conv = conv_of(1, (side, side), (512, 16), (1, 1, 1, 1), stride=step)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, side, side, 512), np.float32)
    weights = rng.standard_normal((16, 512, 3, 3), np.float32)
    padded = np.pad(x[0].astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    exact = sum(
        padded[i : i + side : step, j : j + side : step] @ weights[:, :, i, j].T.astype(np.float64)
        for i in range(3) for j in range(3)
    )  # fmt: skip
    found = computed(BOARDS[-1], conv, form.m, x, weights, [])[0]
    assert np.abs(found - exact).max() / np.abs(exact).max() < bound


@pytest.mark.parametrize("shape", [(56, 64), (28, 128), (224, 64)])
@pytest.mark.parametrize("board", ["x86-64-v3", "rpi4"])
def test_it_is_chosen_where_the_arithmetic_outweighs_the_transforms(
    board: str, shape: tuple[int, int]
) -> None:
    side, channels = shape
    conv = conv_of(1, (side, side), (channels, channels), (1, 1, 1, 1))
    machine = machine_of(load_board(board))
    assert ways.quickest(conv, machine).choice == Choice("winograd4")
    assert 4 * winograd.workspace(conv, machine, 4) < 4e6


def other(conv: Conv, **changes: Any) -> Conv:
    return Conv(**{**conv.__dict__, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"stride": (2, 1)},
        {"stride": (3, 3)},
        {"dilation": (2, 2)},
        {"kernel": (5, 5)},
        {"groups": 64},
        {"w_image": 9},
    ],
)
def test_other_kernels_are_left_to_direct_convolution(changes: dict[str, Any]) -> None:
    machine: Machine = machine_of(load_board("rpi4"))
    conv = conv_of(1, (56, 56), (64, 64), (1, 1, 1, 1))
    found = ways.all_candidates(other(conv, **changes), machine)
    assert {way.choice.family for way in found} == {"direct"}


def test_strides_of_two_are_computed_so_on_arm_alone() -> None:
    conv = conv_of(1, (56, 56), (64, 128), (1, 1, 1, 1), stride=2)
    machine = machine_of(load_board("rpi4"))
    assert ways.quickest(conv, replace(machine, cores=1)).choice == Choice("winograd4")
    assert [w.choice.family for w in ways.all_candidates(conv, machine)].count("winograd4") == 1
    for board in ("x86-64-v3", "x86-64-v4"):
        found = ways.all_candidates(conv, machine_of(load_board(board)))
        assert {way.choice.family for way in found} == {"direct"}


def test_code_for_arm_multiplies_by_lanes() -> None:
    board = load_board("rpi4")
    conv = conv_of(1, (14, 14), (32, 32), (1, 1, 1, 1), "bias")
    machine = machine_of(board)
    made = winograd.kernel("k", conv, machine, 4, filter_size(conv, machine, 4))
    library = emit.compile_alone(made, adapter.target_of(board))
    assert ".s[3]" in library.inspect_source("asm")
