# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Converters of operators that give elements another place: reshapes, joins, padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitc.errors import UnsupportedOpError
from splitc.frontend.convert.batch import without
from splitc.frontend.convert.modules import Function, Join
from splitc.frontend.convert.registry import Call, Node, converts
from splitc.frontend.onnx.batch import reshaped


@converts("Reshape")
def reshape(node: Node) -> nn.Module | Call:
    """The extent that the samples are in stays open; others are as they were."""
    node.ignore(1)
    return _reshape(node, list(node.result_shape()))


def _reshape(node: Node, made: list[int]) -> nn.Module | Call:
    place = _samples_behind(node, made)
    node.place_batch(place)
    if place is not None and 0 not in made:
        made[place] = -1
        return Function(torch.reshape, shape=tuple(made))
    if node.op == "Reshape" and node.is_constant(1) and 0 not in made:
        for axis in np.flatnonzero(node.constant(1) == -1):
            made[int(axis)] = -1
    return Call("reshape", (node.operand(0), made))


def _samples_behind(node: Node, made: list[int]) -> int | None:
    if node.samples() is None:
        return None
    return reshaped(node.shape(0), node.samples() or 0, made, node.batch or 1)


@converts("Flatten")
def flatten(node: Node) -> nn.Module | Call:
    """To a matrix; the axes before `axis` are its rows."""
    axis = node.axis(node.attribute("axis", 1), len(node.shape(0)))
    if axis == 1 and node.samples() in (None, 0):
        node.place_batch(node.samples())
        return Call(torch.flatten, (node.operand(0), 1))
    return _reshape(node, list(node.result_shape()))


def _unsqueeze(x: Tensor, *, axes: Sequence[int]) -> Tensor:
    for axis in axes:
        x = x.unsqueeze(axis)
    return x


@converts("Squeeze")
def squeeze(node: Node) -> nn.Module:
    """The axes that are given, or all of one element."""
    shape, given = node.shape(0), node.setting("axes", 1)
    if given is None:
        axes = [k for k, extent in enumerate(shape) if extent == 1]
    else:
        axes = sorted({node.axis(int(each), len(shape)) for each in given.reshape(-1)})
    node.place_batch(without(node.samples(), axes))
    return Function(torch.squeeze, dim=tuple(axes))


@converts("Unsqueeze")
def unsqueeze(node: Node) -> nn.Module:
    """Axes are counted in the result."""
    given = node.setting("axes", 1)
    assert given is not None
    rank = len(node.shape(0)) + given.size
    axes = sorted(node.axis(int(each), rank) for each in given.reshape(-1))
    if node.samples() is not None:
        kept = [axis for axis in range(rank) if axis not in axes]
        node.place_batch(kept[node.samples() or 0])
    return Function(_unsqueeze, axes=tuple(axes))


@converts("Transpose")
def transpose(node: Node) -> Call:
    """The order of the axes, backwards where none is given."""
    rank = len(node.shape(0))
    order = list(node.attribute("perm", range(rank)[::-1]))
    node.place_batch(None if node.samples() is None else order.index(node.samples()))
    return Call(torch.permute, (node.operand(0), order))


@converts("Concat")
def concat(node: Node) -> nn.Module | Call:
    """A stored operand of one sample, a class token say, joins every sample."""
    axis = node.axis(node.attribute("axis"), len(node.result_shape()))
    parts = [operand for operand in node.operands if operand is not None]
    at = next((part.batch_axis for part in parts if part.batch_axis is not None), None)
    node.place_batch(None if at == axis else at)
    if at not in (None, axis) and any(
        p.value is not None and p.value.shape[at] == 1 for p in parts
    ):
        for k in range(len(parts)):
            node.train(k)
        return Join(axis, at)
    return Call(torch.cat, (parts, axis))


@converts("Split")
def split(node: Node) -> Call:
    """Into parts of the extents that the results have."""
    node.ignore(1)
    axis = node.axis(node.attribute("axis", 0), len(node.shape(0)))
    node.place_batch(None if node.samples() == axis else node.samples())
    sizes = [node.result_shape(k)[axis] for k in range(len(node.results))]
    return Call(torch.split, (node.operand(0), sizes, axis))


@converts("Expand")
def expand(node: Node) -> nn.Module | Call:
    """Broadcasting; the batch stays open."""
    made, shape = list(node.result_shape()), node.shape(0)
    node.ignore(1)
    at = None if node.samples() is None else (node.samples() or 0) + len(made) - len(shape)
    node.place_batch(at)
    if at is not None and made[at] == shape[node.samples() or 0]:
        made[at] = -1
        return Function(torch.Tensor.expand, size=tuple(made))
    return Call("expand", (node.operand(0), made))


@converts("Tile")
def tile(node: Node) -> nn.Module:
    """Repeated along each axis."""
    return Function(torch.tile, dims=tuple(int(n) for n in node.constant(1)))


def _pad_by_place(x: Tensor, *, places: Sequence[tuple[int, Sequence[int]]]) -> Tensor:
    for axis, along in places:
        x = x.index_select(axis, torch.tensor(along, device=x.device))
    return x


@converts("Pad")
def pad(node: Node) -> nn.Module:
    """With a constant, a reflection, the edge, or what stands at the other end."""
    shape = node.shape(0)
    given = node.setting("pads", 1)
    assert given is not None
    pads = [int(n) for n in given]
    axes_given = node.optional(3)
    axes = range(len(shape)) if axes_given is None else [
        node.axis(int(n), len(shape)) for n in axes_given
    ]  # fmt: skip
    sides = {a: (pads[k], pads[k + len(pads) // 2]) for k, a in enumerate(axes)}
    mode, value = node.attribute("mode", "constant"), node.attribute("value", 0.0)
    if node.opset >= 11:
        stored = node.optional(2)
        value = 0 if stored is None else stored.item()
    node.place_batch(node.samples())
    if mode == "constant":
        along = [n for axis in reversed(range(len(shape))) for n in sides.get(axis, (0, 0))]
        return Function(F.pad, pad=along, value=value)
    if mode not in ("reflect", "edge", "wrap"):
        raise UnsupportedOpError(f"mode={mode}")
    return _pad_of_itself(mode, shape, sides)


def _pad_of_itself(mode: str, shape: Sequence[int], sides: dict[int, tuple[int, int]]) -> nn.Module:
    """By PyTorch's function where it takes that, else by the place that each element is from."""
    moved = {axis: pair for axis, pair in sides.items() if pair != (0, 0)}
    inner = range(2, len(shape))
    small = all(0 <= n < shape[axis] for axis, pair in moved.items() for n in pair)
    if mode != "wrap" and len(shape) in (4, 5) and small and set(moved) <= set(inner):
        along = [n for axis in reversed(inner) for n in sides.get(axis, (0, 0))]
        return Function(F.pad, pad=along, mode={"edge": "replicate"}.get(mode, mode))
    places: list[tuple[int, list[int]]] = []
    for axis, (before, after) in moved.items():
        along = np.arange(shape[axis])[max(-before, 0) : shape[axis] - max(-after, 0)]
        padded = np.pad(along, (max(before, 0), max(after, 0)), mode=mode)  # type: ignore[arg-type]
        places.append((axis, [int(n) for n in padded]))
    return Function(_pad_by_place, places=places)


def _depth_to_space(x: Tensor, *, block: int) -> Tensor:
    n, c, h, w = x.shape
    parts = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // block**2, h * block, w * block)


@converts("DepthToSpace")
def depth_to_space(node: Node) -> nn.Module:
    """PyTorch's pixel shuffle is the order CRD; ONNX's default is DCR."""
    block = node.attribute("blocksize")
    if node.attribute("mode", "DCR") == "CRD":
        return nn.PixelShuffle(block)
    return Function(_depth_to_space, block=block)


def _space_to_depth(x: Tensor, *, block: int) -> Tensor:
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * block**2, h // block, w // block)


@converts("SpaceToDepth")
def space_to_depth(node: Node) -> nn.Module:
    """The offsets in a block come before the channels, or behind as PyTorch has them."""
    block = node.attribute("blocksize")
    if node.attribute("mode", "DCR") == "CRD":
        return nn.PixelUnshuffle(block)
    return Function(_space_to_depth, block=block)
