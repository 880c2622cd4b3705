# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportPrivateUsage=false
"""Interpolation as PyTorch computes it: a product with a constant matrix along each dimension.

TVM's converters leave out antialiasing and a given scale factor, and round the nearest pixel
otherwise; what they compute right is left to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from splitc_targets.aten.promotion import Rewrite, aten

Filter = Callable[[Tensor], Tensor]


def linear(distance: Tensor) -> Tensor:
    """The weight of a pixel at a distance in pixels, for linear interpolation."""
    return (1 - distance.abs()).clamp(min=0.0)


def cubic(a: float) -> Filter:
    """Keys' cubic kernel with slope `a` at distance 1 (IEEE ASSP 29(6), 1981, eq. 15)."""

    def weight(distance: Tensor) -> Tensor:
        d = distance.abs()
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return torch.where(d < 1, near, torch.where(d < 2, far, torch.zeros_like(d)))

    return weight


def scale_of(extent: int, made: int, align_corners: bool, factor: float | None) -> float:
    """Pixels of the input from one pixel of the result to the next."""
    if align_corners:
        return (extent - 1) / (made - 1) if made > 1 else 0.0
    return 1.0 / factor if factor else extent / made


def matrix(
    extent: int, made: int, scale: float, align_corners: bool, taps: Filter, reach: int
) -> Tensor:
    """The weight of each input pixel (column) in each result (row); borders are repeated."""
    place = torch.arange(made, dtype=torch.float32)
    centre = place * scale if align_corners else (place + 0.5) * scale - 0.5
    if reach == 1:
        centre = centre.clamp(min=0.0)
    first = torch.floor(centre)
    columns = torch.arange(extent, dtype=torch.float32)
    total = torch.zeros((made, extent), dtype=torch.float32)
    for step in range(1 - reach, reach + 1):
        weight = taps(centre - (first + step))
        at = (first + step).clamp(min=0.0, max=float(extent - 1))
        total = total + weight[:, None] * (at[:, None] == columns[None]).to(torch.float32)
    return total


def smooth_matrix(extent: int, made: int, scale: float, taps: Filter, reach: int) -> Tensor:
    """The same with antialiasing: the filter is as wide as the step, and its weights sum to 1."""
    wide = max(scale, 1.0)
    centre = (torch.arange(made, dtype=torch.float32) + 0.5) * scale
    low = torch.trunc(centre - reach * wide + 0.5).clamp(min=0.0)
    high = torch.trunc(centre + reach * wide + 0.5).clamp(max=float(extent))
    columns = torch.arange(extent, dtype=torch.float32)
    weight = taps((columns[None] - centre[:, None] + 0.5) / wide)
    inside = (columns[None] >= low[:, None]) & (columns[None] < high[:, None])
    weight = weight * inside.to(torch.float32)
    return weight / weight.sum(1, keepdim=True)


def along(x: Tensor, dim: int, weights: Tensor) -> Tensor:
    """The product of a matrix with each line of a tensor along a dimension."""
    last = x.dim() - 1
    turned = x.transpose(dim, last) if dim != last else x
    made = torch.matmul(turned, weights.to(x.dtype).t())
    return made.transpose(dim, last) if dim != last else made


def _sizes(x: Tensor, size: Sequence[int] | None, factors: Sequence[float] | None) -> list[int]:
    if size is not None:
        return list(size)
    return [int(n * f) for n, f in zip(x.shape[2:], factors or (), strict=True)]


def resampled(taps: Filter, reach: int, *, keep: bool = False, smooth: bool = False) -> Rewrite:
    """A rewrite of an interpolation that is linear in each dimension.

    Args:
        taps: Its weights.
        reach: How many pixels to each side have one.
        keep: Whether TVM's converter computes it where no scale factor differs from the extents.
        smooth: Whether it is antialiased.
    """

    def rewrite(x: Tensor, size: Sequence[int] | None, align_corners: bool, *more: Any) -> Any:
        factors = more[0] if len(more) == 1 and not isinstance(more[0], float) else list(more)
        extents = list(x.shape[2:])
        made = _sizes(x, size, factors)
        each = [f or None for f in (factors or [None] * len(made))]
        scales = [
            scale_of(n, m, align_corners, f) for n, m, f in zip(extents, made, each, strict=True)
        ]
        plain = [scale_of(n, m, align_corners, None) for n, m in zip(extents, made, strict=True)]
        if keep and scales == plain:
            return NotImplemented
        for i in reversed(range(len(made))):
            n, m, scale = extents[i], made[i], scales[i]
            if n == m and scale == 1:
                continue
            weights = (smooth_matrix(n, m, scale, taps, reach) if smooth
                       else matrix(n, m, scale, align_corners, taps, reach))  # fmt: skip
            x = along(x, i + 2, weights)
        return x.clone()

    return rewrite


def nearest(x: Tensor, size: Sequence[int] | None, *more: Any) -> Any:
    """The pixel that a result's place lies in, rounded down in single precision."""
    factors = more[0] if len(more) == 1 and not isinstance(more[0], float) else list(more)
    extents, made = list(x.shape[2:]), _sizes(x, size, factors)
    each = [f or None for f in (factors or [None] * len(made))]
    scales = [scale_of(n, m, False, f) for n, m, f in zip(extents, made, each, strict=True)]
    if len(made) == 2 and all(
        m % n == 0 and s == n / m for n, m, s in zip(extents, made, scales, strict=True)
    ):
        return NotImplemented
    for i, (n, m, scale) in enumerate(zip(extents, made, scales, strict=True)):
        if n == m:
            continue
        place = torch.floor(torch.arange(m, dtype=torch.float32) * scale)
        x = torch.index_select(x, i + 2, place.clamp(max=float(n - 1)).to(torch.int64))
    return x.clone()


def rewrites() -> dict[Any, Rewrite]:
    """The rewrites by operator."""
    found: dict[Any, Rewrite] = {}
    for packet in (aten.upsample_nearest1d, aten.upsample_nearest2d, aten.upsample_nearest3d):
        found |= {packet.vec: nearest, packet.default: nearest}
    for packet in (aten.upsample_linear1d, aten.upsample_trilinear3d):
        found |= {packet.vec: resampled(linear, 1), packet.default: resampled(linear, 1)}
    straight = resampled(linear, 1, keep=True)
    found |= {aten.upsample_bilinear2d.vec: straight, aten.upsample_bilinear2d.default: straight}
    bent = resampled(cubic(-0.75), 2)
    found |= {aten.upsample_bicubic2d.vec: bent, aten.upsample_bicubic2d.default: bent}
    for packet, taps, reach in (
        (aten._upsample_bilinear2d_aa, linear, 1), (aten._upsample_bicubic2d_aa, cubic(-0.5), 2),
    ):  # fmt: skip
        smooth = resampled(taps, reach, smooth=True)
        found |= {packet.vec: smooth, packet.default: smooth}
    return found
