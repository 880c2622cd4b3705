# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Converters of convolutions and pooling, and the padding that both have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitc.errors import UnsupportedOpError
from splitc.frontend.convert.modules import Cropped, Function, Padded
from splitc.frontend.convert.registry import Node, converts

_CONV: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_CONV_FUNCTION: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSE: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_TRANSPOSE_FUNCTION: dict[int, Any] = {
    1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d,
}  # fmt: skip
_MAX: dict[int, Any] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVERAGE: dict[int, Any] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
_AVERAGE_FUNCTION: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_GLOBAL: dict[str, dict[int, Any]] = {
    "GlobalAveragePool": {
        1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d,
    },
    "GlobalMaxPool": {
        1: nn.AdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Window:
    """A window that moves over the spatial axes; every field has a number for each of them."""

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """How far the window reaches, dilated."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def needed(self, made: Sequence[int]) -> tuple[int, ...]:
        """The padding behind that gives results of these extents."""
        return tuple(
            (out - 1) * step + reach - size - before
            for out, step, reach, size, before in zip(
                made, self.stride, self.reach, self.sizes, self.before, strict=True
            )
        )

    def refuse_beyond(self, made: Sequence[int]) -> None:
        """Refuse windows that see padding only: ONNX counted them before opset 22.

        Raises:
            UnsupportedOpError: There is one.
        """
        starts = ((out - 1) * step for out, step in zip(made, self.stride, strict=True))
        ends = (size + before for size, before in zip(self.sizes, self.before, strict=True))
        if any(start >= end for start, end in zip(starts, ends, strict=True)):
            raise UnsupportedOpError("its last window would see padding only")

    def fits(self, made: Sequence[int], *, ceil: bool) -> bool:
        """Whether PyTorch's pooling, which pads alike before and after, gives these extents."""
        if self.before != self.after:
            return False
        return all(
            2 * pad <= k and _extent(size, pad, step, reach, ceil=ceil) == out
            for size, pad, step, reach, out, k in zip(
                self.sizes, self.before, self.stride, self.reach, made, self.kernel, strict=True
            )
        )


def _extent(size: int, pad: int, step: int, reach: int, *, ceil: bool) -> int:
    room = size + 2 * pad - reach
    made = (-(-room // step) if ceil else room // step) + 1
    # A window that starts behind the last element would see padding only.
    return made - 1 if ceil and (made - 1) * step >= size + pad else made


def _pairs(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Padding as PyTorch lists it: the last axis first."""
    return [n for pair in reversed(list(zip(before, after, strict=True))) for n in pair]


def _window(node: Node, kernel: Sequence[int]) -> Window:
    sizes = node.shape(0)[2:]
    rank = len(sizes)
    if not 1 <= rank <= 3:
        raise UnsupportedOpError(f"PyTorch has none over {rank} spatial axes")
    stride = tuple(node.attribute("strides", [1] * rank))
    dilation = tuple(node.attribute("dilations", [1] * rank))
    pads = node.attribute("pads", [0] * 2 * rank)
    plain = Window(sizes, tuple(kernel), stride, dilation, tuple(pads[:rank]), tuple(pads[rank:]))
    auto = node.attribute("auto_pad", "NOTSET")
    if not auto.startswith("SAME"):
        return plain
    total = tuple(
        max((-(-size // step) - 1) * step + reach - size, 0)
        for size, step, reach in zip(sizes, stride, plain.reach, strict=True)
    )
    less, more = tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)
    before, after = (less, more) if auto == "SAME_UPPER" else (more, less)
    return Window(sizes, plain.kernel, stride, dilation, before, after)


@converts("Conv")
def conv(node: Node) -> nn.Module:
    """Over one to three axes; padding that PyTorch's have not goes before it, in one module."""
    weight = node.shape(1)
    window = _window(node, weight[2:])
    rank, groups = len(window.sizes), node.attribute("group", 1)
    even = window.before == window.after
    settings: dict[str, Any] = {
        "stride": window.stride, "padding": window.before if even else 0,
        "dilation": window.dilation, "groups": groups,
    }  # fmt: skip
    if not node.is_constant(1):
        made: nn.Module = Function(_CONV_FUNCTION[rank], **settings)
    else:
        made = _CONV[rank](
            weight[1] * groups, weight[0], window.kernel, bias=node.has(2), device="meta",
            **settings,
        )  # fmt: skip
        _give_weights(node, made)
    return made if even else Padded(made, _pairs(window.before, window.after))


def _give_weights(node: Node, made: Any) -> None:
    made.weight = node.parameter(1)
    if node.has(2):
        made.bias = node.parameter(2)


@converts("ConvTranspose")
def conv_transpose(node: Node) -> nn.Module:
    """Padding that PyTorch's have not is cropped off the result, in one module."""
    weight = node.shape(1)
    window = _window(node, weight[2:])
    rank, groups = len(window.sizes), node.attribute("group", 1)
    extra = tuple(node.attribute("output_padding", [0] * rank))
    before, after = _transposed_pads(node, window, extra)
    even = before == after and min(before) >= 0
    settings: dict[str, Any] = {
        "stride": window.stride, "padding": before if even else 0, "output_padding": extra,
        "groups": groups, "dilation": window.dilation,
    }  # fmt: skip
    if not node.is_constant(1):
        made: nn.Module = Function(_TRANSPOSE_FUNCTION[rank], **settings)
    else:
        made = _TRANSPOSE[rank](
            weight[0], weight[1] * groups, window.kernel, bias=node.has(2), device="meta",
            **settings,
        )  # fmt: skip
        _give_weights(node, made)
    return made if even else Cropped(made, _pairs(before, after))


def _transposed_pads(
    node: Node, window: Window, extra: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Padding by attribute, or from the extents that the result is to have."""
    auto = node.attribute("auto_pad", "NOTSET")
    if node.attribute("output_shape") is None and not auto.startswith("SAME"):
        return window.before, window.after
    total = [
        step * (size - 1) + more + reach - out
        for step, size, more, reach, out in zip(
            window.stride, window.sizes, extra, window.reach, node.result_shape()[2:], strict=True
        )
    ]
    less, more = tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)
    return (less, more) if auto == "SAME_UPPER" else (more, less)


@converts("MaxPool")
def max_pool(node: Node) -> nn.Module:
    """Padding that PyTorch's have not is minus infinity put before it, in one module."""
    node.refuse_results()
    window = _window(node, node.attribute("kernel_shape"))
    made = node.result_shape()[2:]
    module, settings = _MAX[len(made)], {"stride": window.stride, "dilation": window.dilation}
    for ceil in (False, True):
        if window.fits(made, ceil=ceil):
            return module(window.kernel, padding=window.before, ceil_mode=ceil, **settings)
    if "float" not in node.operand(0).tensor.dtype:
        raise UnsupportedOpError("integers have no minus infinity to be padded with")
    window.refuse_beyond(made)
    pads = _pairs(window.before, window.needed(made))
    return Padded(module(window.kernel, **settings), pads, -math.inf)


def _average_pool(
    x: Tensor, *, kernel: Sequence[int], stride: Sequence[int], pads: Sequence[int],
    counted: Sequence[int],
) -> Tensor:  # fmt: skip
    """Means over what a window holds of the input and of `counted` elements around it."""
    pool = _AVERAGE_FUNCTION[len(kernel)]
    ones = F.pad(torch.ones_like(x[:1, :1]), list(counted), value=1.0)
    rest = [all_ - some for all_, some in zip(pads, counted, strict=True)]
    share = pool(F.pad(ones, rest), kernel, stride)
    return pool(F.pad(x, list(pads)), kernel, stride) / share


@converts("AveragePool")
def average_pool(node: Node) -> nn.Module:
    """Uneven padding is divided out again, or not, as `count_include_pad` says."""
    window = _window(node, node.attribute("kernel_shape"))
    if any(step != 1 for step in window.dilation):
        raise UnsupportedOpError("PyTorch has no dilated average pooling")
    made, count = node.result_shape()[2:], bool(node.attribute("count_include_pad", 0))
    for ceil in (False, True):
        if window.fits(made, ceil=ceil):
            return _AVERAGE[len(made)](
                window.kernel, window.stride, window.before, ceil, count_include_pad=count
            )
    none = [0] * len(made)
    window.refuse_beyond(made)
    pads = _pairs(window.before, window.needed(made))
    counted = _pairs(window.before, window.after) if count else _pairs(none, none)
    pooling = Function(
        _average_pool, kernel=window.kernel, stride=window.stride, pads=pads, counted=counted
    )
    setattr(pooling, "kernel_size", window.kernel)  # noqa: B010
    return pooling


@converts("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: Node) -> nn.Module:
    """Over one to three axes by PyTorch's adaptive pooling, over others as a reduction."""
    rank = len(node.shape(0)) - 2
    if rank in _GLOBAL[node.op]:
        return _GLOBAL[node.op][rank](1)
    reduction = torch.mean if node.op == "GlobalAveragePool" else torch.amax
    if rank < 1:
        return nn.Identity()
    return Function(reduction, dim=tuple(range(2, rank + 2)), keepdim=True)


def _lp(x: Tensor, *, p: int) -> Tensor:
    return torch.linalg.vector_norm(x, p, tuple(range(2, x.dim())), keepdim=True)


@converts("GlobalLpPool")
def global_lp_pool(node: Node) -> nn.Module:
    """The norm of each channel."""
    return Function(_lp, p=node.attribute("p", 2))
