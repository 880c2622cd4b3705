# SPDX-License-Identifier: Apache-2.0
# pyright: basic
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import example, given, settings
from hypothesis import strategies as st

from splitc.cost.board import load_board
from splitc_targets.graph.expression import Arg, Do, Expression, relu
from splitc_targets.kernels import ways
from splitc_targets.kernels.product.geometry import Conv, of_maps
from splitc_targets.kernels.strassen import filters, kernel, plan
from splitc_targets.loops import emit
from splitc_targets.loops.fused import Operand
from splitc_targets.machine.machine import Machine, machine_of
from splitc_targets.tvm import adapter
from tests.targets.kernels.test_winograd import convolved, fused

Array = np.ndarray[Any, Any]

HOST = load_board("host").processor.cpu
pytestmark = pytest.mark.skipif(not HOST.startswith("x86-64"), reason="code for x86-64 is run")

EPILOGUES: dict[str, tuple[Expression, tuple[str, ...]]] = {
    "plain": (Arg(0), ()),
    "bias": (Do("add", (Arg(0), Arg(1))), ("channel",)),
    "residual": (
        relu(Do("add", (Do("add", (Arg(0), Arg(1))), Arg(2)))),
        ("channel", "tensor"),
    ),
}


def conv_of(
    batch: int, size: tuple[int, int], channels: tuple[int, int], stride: tuple[int, int],
    epilogue: str = "plain",
) -> Conv:  # fmt: skip
    (height, width), (c, oc) = size, channels
    out = tuple(-(-side // step) for side, step in zip(size, stride, strict=True))
    made = of_maps((batch, c, height, width), (batch, oc, *out), 1, (1, 1), stride, (0, 0))
    expression, kinds = EPILOGUES[epilogue]
    operands = tuple(Operand(kind, oc) for kind in kinds)
    return Conv(**{**made.__dict__, "expression": expression, "operands": operands})


def computed(conv: Conv, x: Array, weights: Array, operands: list[Array]) -> Array:
    """The kernel's result; the scratch holds not-a-number, so that reading it unset shows."""
    board = load_board("x86-64-v2")
    machine, target = machine_of(board), adapter.target_of(board)
    size = plan.filter_size(conv, machine)
    packed = tvm.runtime.tensor(np.full(size, np.nan, np.float32))
    made = emit.compile_alone(filters.kernel("k", conv, machine), target)
    made["main"](tvm.runtime.tensor(filters.plain(weights).ravel()), packed)
    library = emit.compile_alone(kernel.kernel("k", conv, machine, size), target)
    scratch = np.full(kernel.workspace(conv, machine), np.nan, np.float32)
    shape = conv.batch, conv.out_height, conv.out_width, conv.out_channels
    y = tvm.runtime.tensor(np.full(np.prod(shape), np.nan, np.float32))
    first, *rest = [
        tvm.runtime.tensor(np.ascontiguousarray(a).ravel()) for a in (x, *operands, scratch)
    ]
    library["main"](first, packed, *rest, y)
    return y.numpy().reshape(shape)


sizes = st.integers(1, 15)
eights = st.integers(1, 12).map(lambda count: 8 * count)
step = st.integers(1, 3)


@settings(max_examples=10, deadline=None)
@given(
    batch=st.integers(1, 3),
    size=st.tuples(sizes, sizes),
    channels=st.tuples(eights, eights),
    stride=st.tuples(step, step),
    epilogue=st.sampled_from(sorted(EPILOGUES)),
)
@example(2, (7, 7), (96, 40), (1, 1), "residual")
@example(1, (14, 13), (64, 256), (2, 2), "residual")
@example(1, (1, 1), (8, 8), (1, 1), "bias")
def test_the_result_is_onnxruntimes(
    batch: int, size: tuple[int, int], channels: tuple[int, int], stride: tuple[int, int],
    epilogue: str,
) -> None:  # fmt: skip
    conv = conv_of(batch, size, channels, stride, epilogue)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *size, channels[0]), np.float32)
    weights = rng.standard_normal((channels[1], channels[0], 1, 1), np.float32)
    y = convolved(x, weights, (0, 0, 0, 0), stride)
    shapes = {"channel": (channels[1],), "tensor": y.shape}
    operands = [rng.standard_normal(shapes[o.kind], np.float32) for o in conv.operands]
    wanted = fused(epilogue, y, operands)
    found = computed(conv, x, weights, operands)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * max(1, np.abs(y).max()))


def test_the_error_at_2048_channels_is_bounded() -> None:
    conv = conv_of(1, (4, 5), (2048, 16), (1, 1))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 4, 5, 2048), np.float32)
    weights = rng.standard_normal((16, 2048, 1, 1), np.float32)
    exact = x.astype(np.float64) @ weights.reshape(16, 2048).T.astype(np.float64)
    found = computed(conv, x, weights, [])
    assert np.abs(found - exact).max() / np.abs(exact).max() < 4e-6


def test_what_is_not_a_number_stays_within_its_pair_of_pixels() -> None:
    conv = conv_of(2, (3, 3), (16, 16), (1, 1))
    x = np.ones((2, 3, 3, 16), np.float32)
    x[0, 2, 2, 3] = np.nan
    x[1, 0, 1, 5] = np.inf
    found = computed(conv, x, np.ones((16, 16, 1, 1), np.float32), []).reshape(18, 16)
    others = np.delete(np.arange(18), [8, 9, 10])
    np.testing.assert_array_equal(found[others], np.full((15, 16), 16, np.float32))
    assert not np.isfinite(found[[8, 10]]).any()


def rpi4() -> Machine:
    return machine_of(load_board("rpi4"))


@pytest.mark.parametrize("shape", [(56, 256, 128), (28, 512, 128), (28, 512, 256)])
def test_it_is_chosen_for_deep_products_on_arm_alone(shape: tuple[int, int, int]) -> None:
    side, channels, out_channels = shape
    conv = conv_of(1, (side, side), (channels, out_channels), (1, 1))
    assert ways.quickest(conv, rpi4()).choice.family == "strassen"
    for board in ("x86-64-v3", "x86-64-v4"):
        machine = machine_of(load_board(board))
        assert {way.choice.family for way in ways.all_candidates(conv, machine)} == {"direct"}


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel": (3, 3)}, {"groups": 2}, {"w_image": 9}, {"pad": (1, 0)}, {"x_channel": 4},
        {"channels": 250}, {"out_channels": 252}, {"out_height": 57},
    ],
)  # fmt: skip
def test_other_kernels_are_left_to_others(changes: dict[str, Any]) -> None:
    conv = conv_of(1, (56, 56), (256, 256), (1, 1))
    assert plan.supported(conv, rpi4())
    assert not plan.supported(Conv(**{**conv.__dict__, **changes}), rpi4())
