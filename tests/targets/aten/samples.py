# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownVariableType=false
"""Calls of PyTorch's that give every argument which is converted another value than its default."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitc_targets.aten.arguments import readings

Calls = dict[str, tuple[Callable[..., Any], list[Tensor]]]
"""What is called, by a name, and on which tensors: each becomes an input of the network."""

GROUPS: dict[str, Callable[[], Calls]] = {}
"""Calls that are compiled together."""

aten: Any = torch.ops.aten


def group(function: Callable[[], Calls]) -> Callable[[], Calls]:
    """Have a function's calls compiled together."""
    GROUPS[function.__name__] = function
    return function


def some(*shape: int) -> Tensor:
    """Values of both signs, the same at each call."""
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator)


@group
def sums_with_alpha() -> Calls:
    x, y, n = some(3, 4), some(4), torch.tensor([[1, -2, 3, 4]])
    return {
        "add": (lambda a, b: torch.add(a, b, alpha=0.5), [x, y]),
        "add in place": (lambda a, b: a.clone().add_(b, alpha=-2), [x, y]),
        "sub": (lambda a, b: torch.sub(a, b, alpha=0.5), [x, y]),
        "rsub": (lambda a, b: torch.rsub(a, b, alpha=3), [x, y]),
        "rsub of a number": (lambda a: torch.rsub(a, 2.0, alpha=3), [x]),
        "whole numbers": (lambda a: torch.add(a, a, alpha=3), [n]),
        "addcmul": (lambda a, b: torch.addcmul(a, b, b, value=0.3), [x, y]),
        "addmm": (lambda a, b: torch.addmm(a, b, a.t() @ a, beta=0.3, alpha=2), [x, x]),
    }  # fmt: skip


@group
def activations() -> Calls:
    x = 3 * some(2, 9)
    return {
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
    }  # fmt: skip


def _interpolation(mode: str, antialias: bool) -> Calls:
    x = some(1, 2, 7, 9)
    calls: Calls = {}
    for corners in (False, True):
        resize = partial(F.interpolate, mode=mode, align_corners=corners, antialias=antialias)
        for size in ((3, 4), (14, 18), (5, 20), (1, 1)):
            calls[f"{corners} {size}"] = partial(resize, size=size), [x]
        for factor in (0.4, 1.5, (2.0, 0.7)):
            calls[f"{corners} {factor}"] = partial(resize, scale_factor=factor), [x]
    return calls


@group
def bilinear_interpolation() -> Calls:
    return _interpolation("bilinear", antialias=False)


@group
def smooth_bilinear_interpolation() -> Calls:
    return _interpolation("bilinear", antialias=True)


@group
def bicubic_interpolation() -> Calls:
    return _interpolation("bicubic", antialias=False)


@group
def smooth_bicubic_interpolation() -> Calls:
    return _interpolation("bicubic", antialias=True)


@group
def other_interpolation() -> Calls:
    line, map_, room = some(1, 2, 7), some(1, 2, 5, 6), some(1, 2, 3, 4, 5)
    return {
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
    }  # fmt: skip


@group
def pools() -> Calls:
    x, line, room = some(1, 2, 7, 8), some(1, 2, 9), some(1, 1, 5, 5, 5)
    return {
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
        "room, padded": (
            lambda a: F.avg_pool3d(a, 3, 2, 1, ceil_mode=True, count_include_pad=False), [room]),
        "largest of a room": (
            lambda a: F.max_pool3d(a, 2, 3, 1, dilation=2, ceil_mode=True), [room]),
        "no batch": (lambda a: F.avg_pool2d(a[0], 2), [x]),
        "adaptive room": (lambda a: F.adaptive_avg_pool3d(a, (2, 3, 5)), [room]),
        "adaptive line": (lambda a: F.adaptive_avg_pool1d(a, 4), [line]),
        "adaptive": (lambda a: F.adaptive_avg_pool2d(a, (3, 5)), [x]),
        "adaptive largest": (lambda a: F.adaptive_max_pool2d(a, (7, 4)), [x]),
    }  # fmt: skip


class FromStates(nn.Module):
    """A recurrent layer that is given the states to begin from."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, state: Tensor, *others: Tensor) -> Any:
        return self.layer(x, (state, *others) if others else state)


@group
def recurrent_layers() -> Calls:
    torch.manual_seed(0)
    x, last = some(5, 2, 4), some(2, 5, 4)
    h, c = some(2, 2, 3), some(2, 2, 3)
    calls: Calls = {
        "lstm": (nn.LSTM(4, 3), [x]),
        "lstm, two layers both ways": (nn.LSTM(4, 3, 2, bidirectional=True), [x]),
        "lstm, batch first": (nn.LSTM(4, 3, batch_first=True), [last]),
        "lstm, no bias": (nn.LSTM(4, 3, bias=False), [x]),
        "lstm, states": (FromStates(nn.LSTM(4, 3, 2)), [x, h, c]),
        "lstm, no batch": (nn.LSTM(4, 3), [x[:, 0]]),
        "gru, no bias": (nn.GRU(4, 3, bias=False), [x]),
        "gru, both ways": (nn.GRU(4, 3, 2, bidirectional=True, batch_first=True), [last]),
        "gru, states": (FromStates(nn.GRU(4, 3, bidirectional=True)), [x, h]),
        "rnn": (nn.RNN(4, 3), [x]),
        "rnn, both ways": (nn.RNN(4, 3, 2, bidirectional=True, batch_first=True), [last]),
        "rnn, relu": (nn.RNN(4, 3, 2, nonlinearity="relu", bidirectional=True), [x]),
        "rnn, relu, batch first": (nn.RNN(4, 3, nonlinearity="relu", batch_first=True), [last]),
    }
    return calls


@group
def recurrent_layers_that_project() -> Calls:
    torch.manual_seed(0)
    return {"lstm": (nn.LSTM(4, 3, proj_size=2), [some(5, 2, 4)])}


@group
def attention() -> Calls:
    q, k, mask = some(1, 4, 5, 8), some(1, 2, 5, 8), some(5, 5)
    attend = F.scaled_dot_product_attention
    return {
        "plain": (lambda a: attend(a, a, a), [q]),
        "causal": (lambda a: attend(a, a, a, is_causal=True), [q]),
        "scaled": (lambda a: attend(a, a, a, scale=0.3), [q]),
        "masked": (lambda a, m: attend(a, a, a, m), [q, mask]),
        "masked by truth": (lambda a, m: attend(a, a, a, m > -1), [q, mask]),
        "grouped": (lambda a, b: attend(a, b, b, enable_gqa=True), [q, k]),
    }  # fmt: skip


@group
def element_types() -> Calls:
    n, x = torch.tensor([[1, -2, 3, 7]]), some(1, 4)
    return {
        "times": (lambda a: a * 0.5, [n]),
        "plus": (lambda a, b: a + b, [n, x]),
        "true division": (lambda a: a / 2, [n]),
        "rounded down": (lambda a: a // 2, [n]),
        "rounded down, floats": (lambda a: a // 0.7, [x]),
        "rounded to nought": (lambda a: torch.div(a, 2, rounding_mode="trunc"), [n]),
        "remainder": (lambda a: torch.remainder(a, -0.7), [x]),
        "remainders of whole": (lambda a: torch.remainder(a, a.flip(1)), [n]),
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
    }  # fmt: skip


def _of(arguments: tuple[str, ...]) -> list[str]:
    """Operators of just these arguments."""
    return [name for name, each in readings().items()
            if each.arguments == arguments and each.by != "rewrite"]  # fmt: skip


def _overload(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(aten, packet), overload)


_WHOLE = ("bitwise",)
_ABOVE_ONE = ("acosh",)
_TRUTH = ("logical",)


def _operand(name: str) -> Tensor:
    """Values in the domain of an operator."""
    if name.startswith(_WHOLE):
        return torch.tensor([[5, -3, 0], [12, 7, 2]])
    if name.startswith(_TRUTH):
        return some(2, 3) > 0
    if name.startswith("acosh"):
        return 1 + some(2, 3).abs()
    return some(2, 3).abs() * 0.3 + 0.1 if name[0] in "alr" else some(2, 3)


@group
def operators_of_one_tensor() -> Calls:
    return {name: (_overload(name), [_operand(name)]) for name in _of(("self",))}


@group
def operators_of_two_operands() -> Calls:
    found: Calls = {}
    for name in (*_of(("self", "other")), *_of(("self", "other", "alpha"))):
        x = _operand(name)
        if name.endswith(".Scalar"):
            number = 3 if x.dtype == torch.int64 else 0.75
            found[name] = partial(lambda a, op, number: op(a, number), op=_overload(name),
                                  number=number), [x]  # fmt: skip
        else:
            found[name] = _overload(name), [x, x.flip(0)]
    return found


@group
def powers_and_bounds() -> Calls:
    x = some(2, 3).abs() + 0.2
    return {
        "pow": (lambda a, b: a**b, [x, some(2, 3)]),
        "cube": (lambda a: a**3.0, [x]),
        "of a number": (lambda a: 2.5**a, [x]),
        "clamp": (lambda a: a.clamp(0.4, 0.9), [x]),
        "clamp by tensors": (lambda a: torch.clamp(a, a.flip(0) - 0.3, a[:1] + 0.1), [x]),
        "decimals": (lambda a: torch.round(a * 50, decimals=-1), [x]),
        "where": (lambda a: torch.where(a > 0.7, a, -a), [x]),
        "bucketize": (
            lambda a, b: torch.bucketize(a, b, out_int32=True, right=True),
            [torch.tensor([0.5, 1.0, 2.0, 0.1]), torch.tensor([0.5, 1.0, 1.5])]),
    }  # fmt: skip


@group
def reductions() -> Calls:
    x, n = some(2, 3, 4), torch.tensor([[3, -1, 4], [1, -5, 9]])
    return {
        "sum": (lambda a: a.sum((0, -1), keepdim=True), [x]),
        "sum in doubles": (lambda a: a.sum(1, dtype=torch.float64), [x]),
        "sum of whole numbers": (lambda a: a.to(torch.int32).sum(0), [n]),
        "mean": (lambda a: a.mean((0, 2), keepdim=True), [x]),
        "mean of whole numbers": (lambda a: a.mean(1, dtype=torch.float32), [n]),
        "mean of all whole numbers": (lambda a: a.mean(dtype=torch.float32), [n]),
        "mean of all": (lambda a: a.mean(), [x]),
        "prod": (lambda a: a.prod(1, keepdim=True), [x]),
        "prod of all": (lambda a: a.prod(), [x]),
        "prod of whole numbers": (lambda a: a.to(torch.int32).prod(1), [n]),
        "amax": (lambda a: a.amax((0, 2), keepdim=True), [x]),
        "amin": (lambda a: a.amin(1, keepdim=True), [x]),
        "max": (lambda a: a.max(1, keepdim=True), [x]),
        "min": (lambda a: a.min(-1), [x]),
        "max of all": (lambda a: a.max(), [x]),
        "min of all": (lambda a: a.min(), [x]),
        "argmax": (lambda a: a.argmax(1, keepdim=True), [x]),
        "argmin": (lambda a: a.argmin(), [x]),
        "argmin along": (lambda a: a.argmin(-1, keepdim=True), [x]),
        "any": (lambda a: (a > 1).any(2, keepdim=True), [x]),
        "any of all": (lambda a: (a > 9).any(), [x]),
        "any of numbers": (lambda a: a.relu().any(0), [x]),
        "all": (lambda a: (a > -1).all((0, 2)), [x]),
        "var": (lambda a: a.var((0, 1), correction=2, keepdim=True), [x]),
        "std": (lambda a: a.std(2, correction=0), [x]),
        "norm": (lambda a: torch.linalg.vector_norm(a, 3.0, (0, 1), keepdim=True), [x]),
        "largest norm": (lambda a: torch.linalg.vector_norm(a, torch.inf, 1), [x]),
        "sum of magnitudes": (lambda a: torch.linalg.vector_norm(a, 1, 1), [x]),
        "logsumexp": (lambda a: a.logsumexp(1), [x]),
        "cumsum": (lambda a: a.cumsum(1), [x]),
        "cumsum in doubles": (lambda a: a.cumsum(0, dtype=torch.float64), [x]),
        "cumsum in its own type": (lambda a: a.cumsum(0, dtype=torch.float32), [x]),
        "cumprod": (lambda a: a.cumprod(2), [x]),
        "softmax": (lambda a: a.softmax(1), [x]),
        "log softmax": (lambda a: a.log_softmax(0), [x]),
        "of a number": (lambda a: (a[0, 0, 0].softmax(0), a[0, 0, 0].amax(0)), [x]),
    }  # fmt: skip


@group
def order() -> Calls:
    x = some(3, 5)
    return {
        "sort": (lambda a: a.sort(0, descending=True), [x]),
        "stable": (lambda a: torch.sort(a.round(), stable=True, dim=1), [x]),
        "argsort": (lambda a: a.argsort(1), [x]),
        "topk": (lambda a: a.topk(2, 0, largest=False), [x]),
        "median": (lambda a: a.median(1), [x]),
        "median of all": (lambda a: a.median(), [x]),
    }


@group
def movements() -> Calls:
    x, line = some(2, 3, 4), some(4)
    places = torch.tensor([[2, 0, 1, 1], [0, 0, 2, 1]])
    return {
        "cat": (lambda a: torch.cat((a, 2 * a), -1), [x]),
        "split": (lambda a: a.split([1, 3], 2), [x]),
        "select": (lambda a: a.select(1, -1), [x]),
        "slice": (lambda a: a[:, -2:, 1:4:2], [x]),
        "slice by itself": (lambda a: aten.slice.Tensor(a, 2, -3, 100, 2), [x]),
        "flip": (lambda a: a.flip((0, 2)), [x]),
        "roll": (lambda a: a.roll((1, -2), (0, 2)), [x]),
        "repeat": (lambda a: a.repeat(2, 1, 3), [x]),
        "expand": (lambda a: a[:, :1].expand(2, 5, 4), [x]),
        "squeeze": (lambda a: (a[:1].squeeze(0), a.squeeze(1), a[:1, :1].squeeze()), [x]),
        "unsqueeze": (lambda a: a.unsqueeze(-2), [x]),
        "permute": (lambda a: a.permute(2, 0, 1), [x]),
        "view": (lambda a: a.reshape(4, -1), [x]),
        "pad": (lambda a: F.pad(a, (1, 2, 0, 1), value=0.5), [x]),
        "pad less": (lambda a: F.pad(a, (-1, 2, 1, -2), value=0.5), [x]),
        "reflect": (lambda a: F.pad(a, (1, 2), mode="reflect"), [x]),
        "circular": (lambda a: F.pad(a, (1, 2), mode="circular"), [x]),
        "diagonal": (
            lambda a: (a.diagonal(1, 1, 2), a.diagonal(-1, 0, 2), a[:, :2].diagonal()), [x]),
        "gather": (lambda a, i: a[:, :, 0].gather(1, i % 3), [x, places]),
        "scatter": (lambda a, i: a[:, 0].scatter(1, i[:, :2] + 1, a[:, 1]), [x, places]),
        "scatter a number": (lambda a, i: a[:, 0].scatter(0, i[:1] % 2, 7.0), [x, places]),
        "slice scatter": (lambda a: torch.slice_scatter(a, 2 * a[:, :1], 1, 1, 3, 2), [x]),
        "select scatter": (lambda a: torch.select_scatter(a, a[:, 0] * 2, 1, 2), [x]),
        "index": (lambda a, i: (a[:, i], a[i % 2, :, i], a[:, i - 2], a[i % 2, i]), [x, places]),
        "index put": (
            lambda a, i: a[:, :, 0].index_put((i[0] % 2, i[1]), a[0, 0] * 3), [x, places]),
        "index add": (
            lambda a, i: a.index_put((i[0] % 2,), a[0, 0], accumulate=True), [x, places]),
        "index select": (lambda a, i: a.index_select(2, i[0]), [x, places]),
        "embedding": (lambda i, w: F.embedding(i, w, padding_idx=0), [places, some(3, 5)]),
        "as strided": (lambda a: a.clone().as_strided((3, 2), (1, 4), 2), [x]),
        "tril": (lambda a: (a.tril(1), a.triu(-1)), [x]),
        "one hot": (lambda i: F.one_hot(i, 4), [places]),
        "meshgrid": (lambda a: torch.meshgrid(a, a, indexing="xy"), [line]),
        "constant inside": (lambda a: a + torch.tensor([1.0, 2.0, 3.0, 4.0]), [line]),
        "cast": (lambda a: (a.to(torch.int32), (a > 0).float(), a.to(torch.bool)), [x]),
        "windows": (
            lambda a: (a.unfold(1, 2, 1), a.unfold(-1, 3, 2), a[0, 0, 0].unfold(0, 1, 1)), [x]),
        "pixels": (lambda a: F.pixel_shuffle(a.reshape(1, 4, 2, 3), 2), [x]),
    }  # fmt: skip


@group
def products() -> Calls:
    a, b, c = some(2, 3, 4), some(2, 4, 5), some(3, 5)
    return {
        "bmm": (torch.bmm, [a, b]),
        "mm": (lambda a, b: a[0] @ b[0], [a, b]),
        "addmm": (lambda c, a, b: torch.addmm(c, a[0], b[0], beta=0.5, alpha=2), [c, a, b]),
        "baddbmm": (lambda c, a, b: torch.baddbmm(c, a, b, beta=0.5, alpha=2), [c, a, b]),
        "einsum": (lambda a, b: torch.einsum("bij,bjk->ki", a, b), [a, b]),
        "linear": (F.linear, [a, some(6, 4), some(6)]),
        "over no columns": (
            lambda a, b, c: (
                torch.addmm(c[:, 0], a[0, :, :0], b[0, :0], beta=0.5, alpha=2),
                a[:, :, :0] @ b[:, :0],
                a[0, :, :0] @ b[0, :0],
            ),
            [a, b, some(5, 2)],
        ),
        "vector": (lambda a, b: a[0] @ b[0, :, 0], [a, b]),
    }


@group
def tensors_without_elements() -> Calls:
    none, some_rows = some(5, 0, 3), some(4, 5)
    return {
        "flip": (lambda a: a.flip((0, 1)), [none]),
        "softmax": (lambda a: a.softmax(1), [none]),
        "distances": (torch.cdist, [some_rows, some(0, 5)]),
        "sum": (lambda a: a.sum(1), [none]),
    }


@group
def convolutions() -> Calls:
    torch.manual_seed(1)
    line, map_, room = some(1, 4, 9), some(2, 4, 7, 8), some(1, 2, 5, 6, 4)
    turned = nn.ConvTranspose2d
    return {
        "line": (nn.Conv1d(4, 6, 3, 2, 1, 2, 2), [line]),
        "map": (nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2), [map_]),
        "same": (nn.Conv2d(4, 6, 3, padding="same", padding_mode="reflect"), [map_]),
        "no bias, depth": (nn.Conv2d(4, 8, 3, groups=4, bias=False), [map_]),
        "no batch": (lambda a, w: F.conv2d(a[0], w), [map_, some(3, 4, 2, 2)]),
        "room": (nn.Conv3d(2, 3, 2, 2, 1), [room]),
        "turned line": (nn.ConvTranspose1d(4, 6, 3, 2, 1, 1, 2), [line]),
        "turned map": (turned(4, 6, 3, (2, 3), 1, (1, 2), 2), [map_]),
        "turned, dilated": (turned(4, 6, 3, 2, 2, 1, 1, dilation=2), [map_]),
        "turned, beyond the stride": (turned(4, 2, 3, 1, 0, 1, dilation=2), [map_]),
        "turned room": (nn.ConvTranspose3d(2, 4, 2, 2, 1, 1, 2), [room]),
    }


@group
def places_and_statistics() -> Calls:
    x, line, room = some(2, 4, 7, 6), some(1, 2, 9), some(1, 1, 5, 5, 5)
    groups: Any = torch.native_group_norm
    return {
        "places": (lambda a: F.max_pool2d(a, 3, 2, 1, 2, True, True), [x]),
        "places of a line": (lambda a: F.max_pool1d(a, 3, 2, 1, return_indices=True), [line]),
        "places in a room": (lambda a: F.max_pool3d(a, 2, return_indices=True), [room]),
        "uneven": (lambda a: F.adaptive_max_pool2d(a, (3, 4), return_indices=True), [x]),
        "layer": (lambda a: aten.native_layer_norm(a, (7, 6), None, None, 0.1), [x]),
        "groups": (lambda a: groups(a, None, None, 2, 4, 42, 2, 0.1), [x]),
    }  # fmt: skip


@group
def scatters_and_bags() -> Calls:
    x, source, table = some(4, 5), some(3, 5), some(6, 3)
    index = torch.tensor([[0, 1, 1, 3], [1, 1, 0, 2]])
    words, starts = torch.tensor([0, 2, 2, 5, 1]), torch.tensor([0, 2, 2])
    calls: Calls = {
        "add": (lambda a, i, s: a.scatter_add(0, i, s), [x, index, source]),
        "masked": (lambda a, s: a.masked_scatter(a > 0, s), [x, some(20)]),
        "fill a corner": (lambda a, i: a.scatter(0, i, 7.0), [x, index]),
    }
    for how in ("sum", "prod", "mean", "amax", "amin"):
        for own in (False, True):
            calls[f"{how} {own}"] = (
                partial(_reduced, reduce=how, include_self=own), [x, index, source],
            )  # fmt: skip
    for mode in ("sum", "mean", "max"):
        bag = partial(F.embedding_bag, mode=mode, padding_idx=2)
        calls[f"bag {mode}"] = bag, [words, table, starts]
    return calls


def _reduced(a: Tensor, i: Tensor, s: Tensor, **named: Any) -> Tensor:
    return a.scatter_reduce(0, i, s, **named)


@group
def distances() -> Calls:
    x, y = some(2, 4, 3), some(2, 5, 3)
    calls: Calls = {"pairs": (F.pdist, [x[0]])}
    for p in (0.0, 1.0, 2.0, 3.5, torch.inf):
        calls[f"{p}"] = partial(torch.cdist, p=p), [x, y]
    return calls


@group
def normalisations() -> Calls:
    torch.manual_seed(2)
    x = some(2, 4, 5, 3)
    stored = nn.BatchNorm2d(4, eps=0.1)
    stored.running_mean, stored.running_var = some(4), some(4).abs() + 0.5
    return {
        "batch norm": (stored, [x]),
        "batch norm without statistics": (
            nn.BatchNorm2d(4, eps=0.1, track_running_stats=False, affine=False), [x]),
        "instance norm": (nn.InstanceNorm2d(4, eps=0.1, affine=True), [x]),
        "layer norm": (nn.LayerNorm([5, 3], eps=0.1), [x]),
        "layer norm without weights": (lambda a: F.layer_norm(a, (3,)), [x]),
        "layer norm without bias": (nn.LayerNorm(3, bias=False), [x]),
        "group norm": (nn.GroupNorm(2, 4, eps=0.1), [x]),
        "group norm without weights": (lambda a: F.group_norm(a, 2), [x]),
        "rms norm": (nn.RMSNorm(3, eps=0.1), [x]),
        "local response": (nn.LocalResponseNorm(3, alpha=0.1, beta=0.5, k=2), [x]),
        "normalize": (lambda a: F.normalize(a, p=1.5, dim=2), [x]),
        "dropout": (nn.Dropout(0.3), [x]),
    }  # fmt: skip


@group
def sampling() -> Calls:
    x, grid = some(1, 2, 5, 6), some(1, 3, 4, 2)
    calls: Calls = {}
    for mode in ("bilinear", "nearest", "bicubic"):
        for padding in ("zeros", "border", "reflection"):
            for corners in (False, True):
                calls[f"{mode} {padding} {corners}"] = (
                    partial(F.grid_sample, mode=mode, padding_mode=padding, align_corners=corners),
                    [x, grid],
                )
    theta = some(1, 2, 3)
    calls["affine grid"] = partial(F.affine_grid, size=[1, 2, 3, 4], align_corners=False), [theta]
    return calls
