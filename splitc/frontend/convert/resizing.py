# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Converters of resizing.

ONNX has many ways to say where an element comes from, PyTorch few. Each axis's places, or
the weights of what it is a mean of, are worked out after ONNX's definition and compared
with PyTorch's: its own function is used where they agree, and they are applied as they
are, axis by axis, where not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitc.arrays import Array
from splitc.errors import UnsupportedOpError
from splitc.frontend.convert.modules import Function
from splitc.frontend.convert.registry import Node, converts

_PLACES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
           "asymmetric", "tf_half_pixel_for_nn")  # fmt: skip
_MODES: dict[tuple[str, int], str] = {
    ("linear", 3): "linear", ("linear", 4): "bilinear", ("linear", 5): "trilinear",
    ("cubic", 4): "bicubic",
}  # fmt: skip


def _sources(way: str, size: int, made: int, scale: float) -> Array:
    """Where in the operand each element of the result is from, by the operator's definition."""
    x = np.arange(made, dtype=np.float64)
    if way == "align_corners":
        return x * ((size - 1) / (made - 1)) if made > 1 else x * 0
    if way == "asymmetric":  # As onnxruntime divides: 7 / 0.7 is 10, not a little more.
        return (x.astype(np.float32) / np.float32(scale)).astype(np.float64)
    if way == "tf_half_pixel_for_nn":
        return (x + 0.5) / scale
    if way == "pytorch_half_pixel" and made == 1:
        return x * 0
    if way == "half_pixel_symmetric":
        offset = size / 2 * (1 - made / (scale * size))
        return offset + (x + 0.5) / scale - 0.5
    return (x + 0.5) / scale - 0.5


def _half_down(x: Array) -> Array:
    return np.ceil(x - 0.5)


def _half_up(x: Array) -> Array:
    return np.floor(x + 0.5)


_ROUNDS: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": _half_down, "floor": np.floor, "ceil": np.ceil,
    "round_prefer_ceil": _half_up,
}  # fmt: skip


def _cubic(x: Array, a: float) -> Array:
    """Keys's kernel."""
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _weights(node: Node, sources: Array, size: int) -> Array:
    """Share of each element of the operand [made, size]; the edge goes on outside."""
    cubic = node.attribute("mode") == "cubic"
    sources = sources if cubic else np.clip(sources, 0, size - 1)
    first = np.floor(sources).astype(np.int64)
    taps = range(-1, 3) if cubic else range(2)
    found = np.zeros((len(sources), size))
    for tap in taps:
        away = sources - (first + tap)
        a = node.attribute("cubic_coeff_a", -0.75)
        share = _cubic(away, a) if cubic else np.maximum(1 - np.abs(away), 0)
        if node.attribute("exclude_outside", 0):
            share = np.where((first + tap < 0) | (first + tap >= size), 0, share)
        np.add.at(found, (np.arange(len(sources)), np.clip(first + tap, 0, size - 1)), share)
    return found / found.sum(1, keepdims=True)


def _scales(node: Node, shape: Sequence[int], made: Sequence[int]) -> list[float]:
    """Of each axis: as given, or by the extents."""
    axes = node.attribute("axes", list(range(len(shape))))
    place = 2 if node.opset >= 11 else 1
    given = node.attribute("scales")
    if given is None and node.op == "Resize" and node.opset >= 11:
        node.ignore(1)
    if given is None and node.has(place) and node.operand(place).tensor.shape != (0,):
        given = node.constant(place)
    node.ignore(3)
    found = [out / n if n else 1.0 for n, out in zip(shape, made, strict=True)]
    for axis, scale in zip(axes, () if given is None else given, strict=False):
        found[node.axis(axis, len(shape))] = float(scale)
    return found


@converts("Resize", "Upsample")
def resize(node: Node) -> nn.Module:
    """By PyTorch's function where it computes the same, else by places or weights of each axis."""
    shape, made = node.shape(0), node.result_shape()
    mode = node.attribute("mode", "nearest")
    usual = "half_pixel" if node.op == "Resize" and node.opset >= 11 else "asymmetric"
    way = node.attribute("coordinate_transformation_mode", usual)
    if way not in _PLACES or mode not in ("nearest", "linear", "cubic"):
        raise UnsupportedOpError(f"mode={mode}, coordinate_transformation_mode={way}")
    if node.attribute("antialias", 0):
        raise UnsupportedOpError("antialias=1")
    if node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnsupportedOpError("it keeps the aspect ratio")
    scales = _scales(node, shape, made)
    moved = [k for k, (n, out) in enumerate(zip(shape, made, strict=True))
             if n != out or scales[k] != 1]  # fmt: skip
    sources = {k: _sources(way, shape[k], made[k], scales[k]) for k in moved}
    inner = len(shape) in (3, 4, 5) and all(k >= 2 for k in moved)
    if mode == "nearest":
        return _nearest(node, sources, shape, made[2:] if inner else ())
    weights = {k: _weights(node, sources[k], shape[k]) for k in moved}
    return _mean_of_several(mode, weights, shape, made[2:] if inner else ())


def _nearest(
    node: Node, sources: dict[int, Array], shape: Sequence[int], target: Sequence[int]
) -> nn.Module:
    places = {
        k: np.clip(_rounded(node, x, shape[k]), 0, shape[k] - 1).astype(np.int64)
        for k, x in sources.items()
    }
    for mode in ("nearest", "nearest-exact") if target else ():
        if all(np.array_equal(found, _torch_places(mode, shape[k], len(found)))
               for k, found in places.items()):  # fmt: skip
            return nn.Upsample(tuple(target), mode=mode)
    listed = [(k, [int(n) for n in found]) for k, found in places.items()]
    return Function(_by_place, places=listed)


def _rounded(node: Node, sources: Array, size: int) -> Array:
    """The nearest places; before opset 11 those behind, where the result is shorter."""
    old = node.op == "Upsample" or node.opset < 11
    usual = ("ceil" if len(sources) < size else "floor") if old else "round_prefer_floor"
    return _ROUNDS[node.attribute("nearest_mode", usual)](sources)


def _torch_places(mode: str, size: int, made: int) -> Array:
    x = torch.arange(size, dtype=torch.float32).reshape(1, 1, size)
    return F.interpolate(x, made, mode=mode).reshape(-1).numpy().astype(np.int64)


def _by_place(x: Tensor, *, places: Sequence[tuple[int, Sequence[int]]]) -> Tensor:
    for axis, along in places:
        x = x.index_select(axis, torch.tensor(along, device=x.device))
    return x


def _mean_of_several(
    mode: str, weights: dict[int, Array], shape: Sequence[int], target: Sequence[int]
) -> nn.Module:
    name = _MODES.get((mode, len(shape)))
    for corners in (False, True) if name and target else ():
        if all(np.allclose(found, _torch_weights(mode, shape[k], len(found), corners), atol=1e-5)
               for k, found in weights.items()):  # fmt: skip
            return nn.Upsample(tuple(target), mode=str(name), align_corners=corners)
    return Weighted(weights, {"linear": "linear", "cubic": "bicubic"}[mode])


def _torch_weights(mode: str, size: int, made: int, corners: bool) -> Array:
    """What PyTorch makes of unit vectors, on one axis [made, size]."""
    unit = torch.eye(size)[None, None]
    name = "bicubic" if mode == "cubic" else "bilinear"
    return F.interpolate(unit, (size, made), mode=name, align_corners=corners)[0, 0].numpy().T


class Weighted(nn.Module):
    """Each element a weighted mean of others of its row, axis after axis.

    Args:
        weights: For an axis the share of each element [made, size].
        mode: What PyTorch calls it.
    """

    def __init__(self, weights: dict[int, Array], mode: str) -> None:
        super().__init__()
        self.axes = tuple(weights)
        self.mode = mode
        for axis, found in weights.items():
            self.register_buffer(f"share{axis}", torch.from_numpy(found.astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        """`x` resized along the axes that there are weights for."""
        for axis in self.axes:
            share: Tensor = self.get_buffer(f"share{axis}").to(x.dtype)
            x = torch.matmul(x.movedim(axis, -1), share.t()).movedim(-1, axis)
        return x

    def extra_repr(self) -> str:
        """Its settings."""
        return f"axes={self.axes}, mode={self.mode!r}"
