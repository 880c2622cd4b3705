# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownVariableType=false
"""Calls of PyTorch's with arguments that TVM's converters drop or read otherwise."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from tests.targets.torch_calls import Calls, assert_right, compiled  # noqa: E402


def some(*shape: int) -> Tensor:
    """Values of both signs, the same at each call."""
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator)


def test_a_sum_and_a_difference_take_their_second_operand_times_alpha() -> None:
    x, y, n = some(3, 4), some(4), torch.tensor([[1, -2, 3, 4]])
    assert_right({
        "add": (lambda a, b: torch.add(a, b, alpha=0.5), [x, y]),
        "add in place": (lambda a, b: a.clone().add_(b, alpha=-2), [x, y]),
        "sub": (lambda a, b: torch.sub(a, b, alpha=0.5), [x, y]),
        "rsub": (lambda a, b: torch.rsub(a, b, alpha=3), [x, y]),
        "rsub of a number": (lambda a: torch.rsub(a, 2.0, alpha=3), [x]),
        "whole numbers": (lambda a: torch.add(a, a, alpha=3), [n]),
        "addcmul": (lambda a, b: torch.addcmul(a, b, b, value=0.3), [x, y]),
        "addmm": (lambda a, b: torch.addmm(a, b, a.t() @ a, beta=0.3, alpha=2), [x, x]),
    })  # fmt: skip


def test_activations_take_their_scales() -> None:
    x = 3 * some(2, 9)
    assert_right({
        "selu": (F.selu, [x]),
        "elu": (lambda a: F.elu(a, 0.3), [x]),
        "celu": (lambda a: F.celu(a, 0.3), [x]),
        "all of elu": (lambda a: torch.ops.aten.elu(a, 0.3, 2.0, 0.7), [x]),
        "softplus": (lambda a: F.softplus(a, 2.0, 1.5), [x]),
        "leaky relu": (lambda a: F.leaky_relu(a, 0.3), [x]),
        "hardtanh": (lambda a: F.hardtanh(a, -0.3, 0.7), [x]),
        "gelu": (lambda a: F.gelu(a, approximate="tanh"), [x]),
        "log sigmoid": (F.logsigmoid, [x]),
        "glu": (lambda a: F.glu(a, 0), [x]),
        "softshrink": (lambda a: F.softshrink(a, 0.7), [x]),
        "hardshrink": (lambda a: F.hardshrink(a, 0.7), [x]),
        "threshold": (lambda a: F.threshold(a, 0.2, 3.0), [x]),
        "rrelu": (F.rrelu, [x]),
        "prelu": (F.prelu, [some(2, 3, 2), some(3)]),
    })  # fmt: skip


def test_the_nearest_pixel_is_rounded_down() -> None:
    x = torch.tensor([[[[0.0, 1.0, 2.0]]]])
    (got,) = compiled(nn.Upsample(size=(1, 5), mode="nearest"), [x])
    np.testing.assert_array_equal(got, [[[[0, 0, 1, 1, 2]]]])


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_interpolation_in_two_dimensions(mode: str, antialias: bool) -> None:
    x = some(1, 2, 7, 9)
    calls: dict[str, tuple[object, list[Tensor]]] = {}
    for corners in (False, True):
        for size in ((3, 4), (14, 18), (5, 20), (1, 1)):
            calls[f"{corners} {size}"] = (
                lambda a, size=size, corners=corners: F.interpolate(
                    a, size=size, mode=mode, align_corners=corners, antialias=antialias
                ),
                [x],
            )
        for factor in (0.4, 1.5, (2.0, 0.7)):
            calls[f"{corners} {factor}"] = (
                lambda a, factor=factor, corners=corners: F.interpolate(
                    a, scale_factor=factor, mode=mode, align_corners=corners, antialias=antialias
                ),
                [x],
            )
    assert_right(calls)  # pyright: ignore[reportArgumentType]


def test_interpolation_in_other_dimensions_and_modes() -> None:
    line, map_, room = some(1, 2, 7), some(1, 2, 5, 6), some(1, 2, 3, 4, 5)
    assert_right({
        "linear": (lambda a: F.interpolate(a, size=11, mode="linear"), [line]),
        "linear, factor": (lambda a: F.interpolate(a, scale_factor=0.6, mode="linear"), [line]),
        "linear, corners": (
            lambda a: F.interpolate(a, size=11, mode="linear", align_corners=True), [line]),
        "trilinear": (lambda a: F.interpolate(a, size=(5, 3, 7), mode="trilinear"), [room]),
        "nearest 1": (lambda a: F.interpolate(a, size=11), [line]),
        "nearest 2": (lambda a: F.interpolate(a, size=(7, 9)), [map_]),
        "nearest 2, twice": (lambda a: F.interpolate(a, scale_factor=2), [map_]),
        "nearest 2, factor": (lambda a: F.interpolate(a, scale_factor=1.7), [map_]),
        "nearest 2, other factor": (
            lambda a: F.interpolate(a, scale_factor=1.7, recompute_scale_factor=True), [map_]),
        "nearest 3": (lambda a: F.interpolate(a, size=(5, 3, 7)), [room]),
        "exact": (lambda a: F.interpolate(a, size=(7, 4), mode="nearest-exact"), [map_]),
        "area": (lambda a: F.interpolate(a, size=(3, 4), mode="area"), [map_]),
    })  # fmt: skip


def test_pools_divide_by_what_they_are_told() -> None:
    x, line, room = some(1, 2, 7, 8), some(1, 2, 9), some(1, 1, 5, 5, 5)
    assert_right({
        "divisor": (lambda a: F.avg_pool2d(a, 3, 2, 1, divisor_override=5), [x]),
        "divisor, ceil": (
            lambda a: F.avg_pool2d(a, (3, 2), 2, 1, ceil_mode=True, divisor_override=2), [x]),
        "without padding": (lambda a: F.avg_pool2d(a, 3, 2, 1, count_include_pad=False), [x]),
        "ceil": (lambda a: F.avg_pool2d(a, 3, 2, 1, ceil_mode=True), [x]),
        "ceil without padding": (
            lambda a: F.avg_pool2d(a, 3, 2, 1, ceil_mode=True, count_include_pad=False), [x]),
        "line": (lambda a: F.avg_pool1d(a, 4, 3, 2, ceil_mode=True), [line]),
        "room": (lambda a: F.avg_pool3d(a, 2, divisor_override=3), [room]),
        "largest": (lambda a: F.max_pool2d(a, 3, 2, 1, dilation=2, ceil_mode=True), [x]),
        "largest, stride left out": (lambda a: F.max_pool2d(a, 3), [x]),
        "largest of a line": (lambda a: F.max_pool1d(a, 3, 2, 1), [line]),
        "norm": (lambda a: F.lp_pool2d(a.abs(), 2.0, 2), [x]),
        "adaptive": (lambda a: F.adaptive_avg_pool2d(a, (3, 5)), [x]),
        "adaptive largest": (lambda a: F.adaptive_max_pool2d(a, (7, 4)), [x]),
    })  # fmt: skip


def test_recurrent_layers_of_every_form() -> None:
    torch.manual_seed(0)
    x, last = some(5, 2, 4), some(2, 5, 4)
    calls: Calls = {
        "lstm": (nn.LSTM(4, 3), [x]),
        "lstm, two layers both ways": (nn.LSTM(4, 3, 2, bidirectional=True), [x]),
        "lstm, batch first": (nn.LSTM(4, 3, batch_first=True), [last]),
        "lstm, projected": (nn.LSTM(4, 3, proj_size=2), [x]),
        "gru, no bias": (nn.GRU(4, 3, bias=False), [x]),
        "gru, both ways": (nn.GRU(4, 3, 2, bidirectional=True, batch_first=True), [last]),
        "rnn": (nn.RNN(4, 3), [x]),
        "rnn, relu": (nn.RNN(4, 3, 2, nonlinearity="relu", bidirectional=True), [x]),
    }
    assert_right(calls)


def test_attention_with_masks_scales_and_groups() -> None:
    q, k, mask = some(1, 4, 5, 8), some(1, 2, 5, 8), some(5, 5)
    attend = F.scaled_dot_product_attention
    assert_right({
        "plain": (lambda a: attend(a, a, a), [q]),
        "causal": (lambda a: attend(a, a, a, is_causal=True), [q]),
        "scaled": (lambda a: attend(a, a, a, scale=0.3), [q]),
        "masked": (lambda a, m: attend(a, a, a, m), [q, mask]),
        "masked by truth": (lambda a, m: attend(a, a, a, m > -1), [q, mask]),
        "grouped": (lambda a, b: attend(a, b, b, enable_gqa=True), [q, k]),
    })  # fmt: skip


def test_whole_numbers_meet_fractions_in_floats() -> None:
    n, x = torch.tensor([[1, -2, 3, 7]]), some(1, 4)
    assert_right({
        "times": (lambda a: a * 0.5, [n]),
        "plus": (lambda a, b: a + b, [n, x]),
        "true division": (lambda a: a / 2, [n]),
        "rounded down": (lambda a: a // 2, [n]),
        "rounded down, floats": (lambda a: a // 0.7, [x]),
        "rounded to nought": (lambda a: torch.div(a, 2, rounding_mode="trunc"), [n]),
        "remainder": (lambda a: torch.remainder(a, -0.7), [x]),
        "remainder of whole": (lambda a: torch.remainder(a, -3), [n]),
        "fmod": (lambda a: torch.fmod(a, 0.7), [x]),
        "less": (lambda a: a < 2.5, [n]),
        "root": (lambda a: torch.sqrt(a.abs()), [n]),
        "clamp": (lambda a: a.clamp(-0.5, 2.5), [n]),
        "where": (lambda a, b: torch.where(b > 0, a, b), [n, x]),
        "lerp": (lambda a, b: torch.lerp(a, b, 0.3), [x, x * 2]),
        "finite": (lambda a: torch.isfinite(a / a.relu()), [x]),
        "logaddexp": (torch.logaddexp, [x, x * 2]),
        "log1p": (lambda a: torch.log1p(a * 1e-6) * 1e6, [x]),
        "expm1": (lambda a: torch.expm1(a * 1e-6) * 1e6, [x]),
    })  # fmt: skip
