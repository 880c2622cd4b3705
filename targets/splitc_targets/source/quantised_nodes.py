# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""A graph whose quantised tensors are being written as floats that hold integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from splitc.ir.graph import Tensor

Array = np.ndarray[Any, Any]


def f32(value: Array) -> Array:
    """Numbers as float32."""
    return value.astype(np.float32)


def has_body(node: NodeProto) -> bool:
    """Whether it has a graph inside, which may read what lies outside."""
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


@dataclass
class Writer:
    """The nodes of a graph, one after another, and the constants that they need."""

    known: dict[str, TensorProto]
    tensors: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    nodes: list[NodeProto] = field(default_factory=list[NodeProto])
    stored: list[TensorProto] = field(default_factory=list[TensorProto])
    floats: dict[str, str] = field(default_factory=dict[str, str])
    """Floats that hold the integers of a quantised tensor."""
    owed: dict[str, int] = field(default_factory=dict[str, int])
    """Quantised tensors of which there are only the floats, and their types."""
    dequantised: dict[str, tuple[str, Array]] = field(default_factory=dict[str, tuple[str, Array]])
    """Tensors that are a scale times floats that hold integers: (those, scale)."""
    stored_whole: dict[str, tuple[Array, Array]] = field(
        default_factory=dict[str, tuple[Array, Array]]
    )
    """Stored tensors that are a scale times integers: (those as floats, scale, broadcastable)."""

    def value(self, node: NodeProto, place: int, default: Array | None = None) -> Array | None:
        """What is stored for an input; the default where there is none, None if computed."""
        if place >= len(node.input) or not node.input[place]:
            return default
        found = self.known.get(node.input[place])
        return None if found is None else numpy_helper.to_array(found)

    def elements(self, name: str) -> int | None:
        """How many elements a tensor has, where that is known."""
        tensor = self.tensors.get(name)
        return None if tensor is None else tensor.elements

    def keep(self, node: NodeProto) -> None:
        """Add a node as it is, behind the quantised tensors that it reads."""
        self.need(*(tuple(self.owed) if has_body(node) else node.input))
        self.nodes.append(node)

    def need(self, *names: str) -> None:
        """Write the integers of tensors of which there are only the floats."""
        for name in names:
            if name in self.owed:
                self.add("Cast", self.floats[name], output=name, to=self.owed.pop(name))

    def store(self, tensor: TensorProto) -> None:
        """Keep a tensor that is known now under its name."""
        self.stored.append(tensor)
        self.known[tensor.name] = tensor

    def constant(self, value: Array) -> str:
        """The name of a new constant."""
        name = f"splitc.integers.{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """The name of a new node's result."""
        name = output or f"splitc.integers.{len(self.nodes)}.{op}"
        self.nodes.append(helper.make_node(op, inputs, [name], f"{name}.node", **attributes))
        return name

    def centred(self, name: str, zero: Array) -> str:
        """A quantised tensor as floats, its zero point taken off."""
        if name not in self.floats:
            self.floats[name] = self.add("Cast", name, to=TensorProto.FLOAT)
        given = self.floats[name]
        return given if not zero.any() else self.add("Sub", given, self.constant(f32(zero)))

    def scaled(self, name: str, scale: Array) -> str:
        """A float tensor times a constant."""
        return self.add("Mul", name, self.constant(f32(scale)))

    def whole(self, name: str, output: str) -> None:
        """Floats that hold the int32 of an output."""
        self.floats[output], self.owed[output] = name, TensorProto.INT32

    def rounded(self, name: str, zero: Array, output: str) -> None:
        """Floats as the nearest integers, of a pair the even one, clipped to the zero's type."""
        limits = np.iinfo(zero.dtype)
        made = self.add("Round", name)
        if zero.any():
            made = self.add("Add", made, self.constant(f32(zero)))
        low, high = (self.constant(np.array(v, np.float32)) for v in (limits.min, limits.max))
        self.floats[output] = self.add("Clip", made, low, high)
        self.owed[output] = helper.np_dtype_to_tensor_dtype(zero.dtype)


class Rehearsal(Writer):
    """A graph that only tells whether an operator can be written: it stores no constants."""

    def constant(self, value: Array) -> str:
        """A name."""
        return f"splitc.integers.rehearsed.{len(self.nodes)}"
