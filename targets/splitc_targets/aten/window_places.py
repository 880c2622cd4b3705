# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Which elements each window of a pool holds, as tables that the largest one is looked up in."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def regular(
    extents: Sequence[int], made: Sequence[int], kernel: Sequence[int], stride: Sequence[int],
    padding: Sequence[int], dilation: Sequence[int],
) -> Tensor:  # fmt: skip
    """Windows of one extent at equal distances.

    Args:
        extents, made: Of the map and of the result, without batch and channels.
        kernel, stride, padding, dilation: A number for each of those dimensions.

    Returns:
        int64 [windows, elements of a window]: places in the flattened map, and its size for
        those that lie beside it.
    """
    lines: list[Tensor] = []
    for n, m, k, step, pad, apart in zip(
        extents, made, kernel, stride, padding, dilation, strict=True
    ):
        at = torch.arange(m)[:, None] * step - pad + torch.arange(k) * apart
        lines.append(torch.where((at >= 0) & (at < n), at, -1))
    return _together(lines, extents)


def adaptive(extents: Sequence[int], made: Sequence[int]) -> Tensor:
    """Windows that share a map out: the i-th of m goes from ⌊i·n/m⌋ up to ⌈(i + 1)·n/m⌉."""
    lines: list[Tensor] = []
    for n, m in zip(extents, made, strict=True):
        first = torch.arange(m) * n // m
        behind = -(-(torch.arange(m) + 1) * n // m)
        widest = max(-(-(i + 1) * n // m) - i * n // m for i in range(m))
        at = first[:, None] + torch.arange(widest)
        lines.append(torch.where(at < behind[:, None], at, -1))
    return _together(lines, extents)


def _together(lines: Sequence[Tensor], extents: Sequence[int]) -> Tensor:
    """One table of the windows' elements along each dimension; -1 for none."""
    flat = torch.zeros((1, 1), dtype=torch.int64)
    inside = torch.ones((1, 1), dtype=torch.bool)
    for line, extent in zip(lines, extents, strict=True):
        shape = (len(flat) * len(line), -1)
        flat = (flat[:, None, :, None] * extent + line[None, :, None, :]).reshape(shape)
        inside = (inside[:, None, :, None] & (line >= 0)[None, :, None, :]).reshape(shape)
    return torch.where(inside, flat, math.prod(extents))
