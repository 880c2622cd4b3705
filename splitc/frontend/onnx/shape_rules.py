# SPDX-License-Identifier: Apache-2.0
"""Shapes of the operators where onnx's own inference is wrong or says nothing.

onnxruntime is the judge: what it computes has these shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import AttributeProto, NodeProto, TensorProto, TypeProto, numpy_helper

from splitc.frontend.onnx.read import tensor_of

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Asked:
    """A node whose outputs are wanted.

    Args:
        node: The node.
        entries: Types of its inputs, by place; None where unknown or left out.
        found: What onnx says of its outputs, by place.
        values: Small tensors whose values are known, by name.
    """

    node: NodeProto
    entries: Sequence[TypeProto | None]
    found: Sequence[TypeProto | None]
    values: Mapping[str, TensorProto]

    @property
    def given(self) -> dict[str, Any]:
        """The node's attributes."""
        return {a.name: onnx.helper.get_attribute_value(a) for a in self.node.attribute}

    def shape(self, place: int) -> Shape | None:
        """Shape of an input."""
        entry = self.entries[place] if place < len(self.entries) else None
        return None if entry is None else tensor_of("", entry).shape

    def integers(self, place: int) -> tuple[int, ...] | None:
        """Values of an input, where they are known."""
        value = self.values.get(self.node.input[place]) if place < len(self.node.input) else None
        return None if value is None else tuple(numpy_helper.to_array(value).ravel().tolist())

    def typed(self, shape: Shape) -> TypeProto | None:
        """A tensor of the first input's elements."""
        entry = self.entries[0]
        if entry is None:
            return None
        return onnx.helper.make_tensor_type_proto(entry.tensor_type.elem_type, shape)


def _same(asked: Asked) -> list[TypeProto | None]:
    """The first input's."""
    return [asked.entries[0]]


@dataclass(frozen=True)
class _Windows:
    """Windows over the axes behind [N, C]; each field has an item for each axis."""

    sizes: tuple[int, ...]
    kernel: Sequence[int]
    strides: Sequence[int]
    dilations: Sequence[int]
    before: Sequence[int]
    after: Sequence[int]

    @staticmethod
    def of(asked: Asked, kernel: Sequence[int]) -> _Windows | None:
        """What the attributes say; None where they are not of one length, or sizes unknown."""
        shape = asked.shape(0)
        if shape is None or len(shape) < 3 or None in shape:
            return None
        given, axes = asked.given, len(shape) - 2
        pads = given.get("pads", [0] * 2 * axes)
        if asked.given.get("auto_pad", b"NOTSET") != b"NOTSET":
            pads = [0] * 2 * axes
        found = _Windows(
            tuple(n or 0 for n in shape[2:]), kernel, given.get("strides", [1] * axes),
            given.get("dilations", [1] * axes), pads[: len(pads) // 2], pads[len(pads) // 2 :],
        )  # fmt: skip
        lists = (kernel, found.strides, found.dilations, found.before, found.after)
        return found if all(len(one) == axes for one in lists) else None


def _pool(asked: Asked) -> list[TypeProto | None]:
    """A pool: with `ceil_mode` the last window begins within the data or the padding before it.

    onnx counts one that begins in the padding behind; of LpPool's `ceil_mode` it knows
    nothing. With `auto_pad` SAME it takes any dilation for 1.

    Raises:
        ValueError: A window is larger than the data.
    """
    given, shape = asked.given, asked.shape(0)
    over = _Windows.of(asked, given.get("kernel_shape", ()))
    if over is None or shape is None:
        return []
    same = given.get("auto_pad", b"").startswith(b"SAME")
    extents: list[int] = []
    for size, kernel, stride, dilation, before, after in zip(
        over.sizes, over.kernel, over.strides, over.dilations, over.before, over.after, strict=True
    ):
        padded = size + before + after
        if same:
            padded = (-(-size // stride) - 1) * stride + kernel
        free = padded - dilation * (kernel - 1) - 1
        count = free // stride + 1
        if given.get("ceil_mode") == 1 and free % stride and count * stride < size + before:
            count += 1
        if count < 1:
            # onnxruntime reads beyond the data, where the division rounds to 0; others refuse.
            span = dilation * (kernel - 1) + 1
            raise ValueError(f"a window of {span} does not fit into {padded}")
        extents.append(count)
    made = (*shape[:2], *extents)
    return [asked.typed(made), onnx.helper.make_tensor_type_proto(TensorProto.INT64, made)]


def _conv_transpose(asked: Asked) -> list[TypeProto | None]:
    """With `auto_pad` SAME, input times stride, if the windows reach so far.

    onnx adds `output_padding`; and a given `output_shape` may name the extents alone.
    """
    given, shape, weight = asked.given, asked.shape(0), asked.shape(1)
    if shape is None or weight is None or len(weight) < 3 or None in weight:
        return []
    sizes = [n or 0 for n in weight]
    over = _Windows.of(asked, given.get("kernel_shape", sizes[2:]))
    if over is None:
        return []
    axes = len(over.sizes)
    wanted = given.get("output_shape", [])[-axes:]
    more = given.get("output_padding", [0] * axes)
    if len(more) != axes or len(wanted) not in (0, axes):
        return []
    same = given.get("auto_pad", b"").startswith(b"SAME")
    extents: list[int] = []
    for k, size in enumerate(over.sizes):
        full = (size - 1) * over.strides[k] + more[k] + over.dilations[k] * (over.kernel[k] - 1) + 1
        if same:
            extents.append(min(full, size * over.strides[k]))
        else:
            extents.append(full - over.before[k] - over.after[k])
    channels = sizes[1] * given.get("group", 1)
    return [asked.typed((shape[0], channels, *(wanted or extents)))]


def _max_unpool(asked: Asked) -> list[TypeProto | None]:
    """The shape it is told, if it is."""
    told = asked.integers(2)
    return [] if told is None else [asked.typed(told)]


def _squeeze(asked: Asked) -> list[TypeProto | None]:
    """Without the axes named: before opset 11 onnx passes over those not in ascending order."""
    axes: list[int] = asked.given.get("axes", [])
    shape = asked.shape(0)
    if shape is None or any(not 0 <= axis < len(shape) or shape[axis] != 1 for axis in axes):
        return []
    rest = tuple(size for k, size in enumerate(shape) if k not in axes)
    return [asked.typed(rest)] if axes else []


def _stft(asked: Asked) -> list[TypeProto | None]:
    """Half the bins unless told otherwise: onnx takes `onesided` for 0 where it is left out."""
    found = asked.found[0]
    if found is None or "onesided" in asked.given:
        return []
    shape = tensor_of("", found).shape
    if shape is None or len(shape) != 4 or shape[2] is None:
        return []
    return [asked.typed((*shape[:2], shape[2] // 2 + 1, shape[3]))]


Rules = Mapping[str, Callable[[Asked], Sequence[TypeProto | None]]]

RULES: Rules = {
    "AveragePool": _pool,
    "ConvTranspose": _conv_transpose,
    "GroupNormalization": _same,
    "LpPool": _pool,
    "MaxPool": _pool,
    "MaxUnpool": _max_unpool,
    "MeanVarianceNormalization": _same,
    "STFT": _stft,
    "Squeeze": _squeeze,
}
"""By operator: types of the outputs, as far as they are known here; the rest is onnx's."""

_POSITIVE = frozenset((
    "blocksize", "dilations", "group", "kernel_shape", "kv_num_heads", "num_groups",
    "num_outputs", "q_num_heads", "strides",
))  # fmt: skip


def check(node: NodeProto) -> None:
    """Refuse counts of which onnx or onnxruntime die, in this process, without an error.

    Raises:
        ValueError: An attribute that counts is below 1, or is not the number of outputs.
    """
    for attribute in node.attribute:
        if attribute.name in _POSITIVE:
            counts = [attribute.i] if attribute.type == AttributeProto.INT else attribute.ints
            if any(count < 1 for count in counts):
                raise ValueError(f"{attribute.name} is {min(counts)}, and counts from 1 on")
        if attribute.name == "num_outputs" and attribute.i != len(node.output):
            raise ValueError(f"num_outputs is {attribute.i}, and it has {len(node.output)} outputs")
