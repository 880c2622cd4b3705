# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""An ONNX graph while it is rewritten: its nodes, constants, shapes and types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from splitc.frontend.onnx.read import dtype_name, tensor_bytes
from splitc.ir.graph import Tensor

Array = np.ndarray[Any, Any]

KNOWN_BYTES = 16 * 1024
"""Up to so many bytes a constant's value decides forms: axes, scales, shapes."""

AXES_AS_INPUT = 18
"""The opset from which reductions but sums read their axes."""


@dataclass(frozen=True)
class Node:
    """One node, with the graph that it stands in.

    Args:
        proto: The node.
        draft: The graph.
        layer: Name of the layer that it belongs to.
    """

    proto: NodeProto
    draft: Draft
    layer: str

    @property
    def op(self) -> str:
        """Its operator."""
        return self.proto.op_type

    @property
    def given(self) -> dict[str, Any]:
        """The attributes that are written, text as str."""
        values = {a.name: helper.get_attribute_value(a) for a in self.proto.attribute}
        return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}

    def input(self, place: int) -> str:
        """The name of an input; empty where it is left out."""
        return self.proto.input[place] if place < len(self.proto.input) else ""

    def output(self, place: int) -> str:
        """The name of an output; empty where it is left out."""
        return self.proto.output[place] if place < len(self.proto.output) else ""

    def reads(self, place: int) -> bool:
        """Whether an output is read by anything."""
        return self.output(place) in self.draft.read if self.output(place) else False

    def value(self, place: int) -> Array | None:
        """The value of an input where it is a small constant; None where it is computed."""
        return self.draft.value(self.input(place))

    def shape(self, place: int = 0) -> tuple[int, ...] | None:
        """The shape of an input, where it is fixed."""
        return self.draft.shape(self.input(place))

    def dtype(self, place: int = 0) -> str:
        """The element type of an input; "unknown" where it is not known."""
        return self.draft.dtype(self.input(place))

    def result_shape(self, place: int = 0) -> tuple[int, ...] | None:
        """The shape of an output, where it is fixed."""
        return self.draft.shape(self.output(place))


@dataclass
class Draft:
    """The nodes of a graph, one after another, and what is known of their tensors.

    Args:
        tensors: Shape and type by name.
        stored: Constants by name.
        opset: Of the default domain.
        was: The opset that the file names.
        read: Names that a node reads or that are results.
        prefix: What the names of new tensors begin with.
        nodes: The nodes that were written.
        made: New constants.
        bodies: The graphs inside nodes that were written.
        names: How many names were made up.
        turned: Nodes that turns of loops were written out to.
    """

    tensors: dict[str, Tensor]
    stored: dict[str, TensorProto]
    opset: int
    was: int
    read: set[str] = field(default_factory=set[str])
    prefix: str = "splitc.form."
    nodes: list[NodeProto] = field(default_factory=list[NodeProto])
    made: list[TensorProto] = field(default_factory=list[TensorProto])
    bodies: list[Draft] = field(default_factory=list["Draft"])
    names: int = 0
    turned: int = 0
    _values: dict[str, Array] = field(default_factory=dict[str, Array])
    _layer: str = ""

    def fresh(self, what: str) -> str:
        """A name that no other tensor has."""
        self.names += 1
        return f"{self.prefix}{self.names}.{what}"

    def at(self, layer: str) -> None:
        """Say which layer the next nodes belong to."""
        self._layer = layer

    def shape(self, name: str) -> tuple[int, ...] | None:
        """A tensor's shape, where every extent is fixed."""
        tensor = self.tensors.get(name)
        if tensor is None or tensor.shape is None or None in tensor.shape:
            return None
        return tensor.static_shape

    def dtype(self, name: str) -> str:
        """A tensor's element type; "unknown" where it is not known."""
        return self.tensors[name].dtype if name in self.tensors else "unknown"

    def value(self, name: str) -> Array | None:
        """The value of a small constant; None for any other tensor."""
        if name not in self._values:
            tensor = self.stored.get(name)
            if tensor is None or tensor_bytes(tensor) > KNOWN_BYTES:
                return None
            self._values[name] = numpy_helper.to_array(tensor)
        return self._values[name]

    def constant(self, value: Array, name: str = "") -> str:
        """The name of a new constant."""
        name = name or self.fresh("constant")
        made = numpy_helper.from_array(np.array(value, order="C"), name)
        self.made.append(made)
        self.stored[name] = made
        self.tensors[name] = Tensor(name, value.shape, dtype_name(made.data_type))
        return name

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """The name of a new node's result."""
        name = output or self.fresh(op)
        self.add_many(op, inputs, [name], **attributes)
        return name

    def add_many(
        self, op: str, inputs: tuple[str, ...], outputs: list[str], **attributes: Any
    ) -> None:
        """Add a node of several results."""
        node = helper.make_node(op, inputs, outputs, self.fresh("node"), **attributes)
        node.doc_string = self._layer
        self.nodes.append(node)

    def reduce(self, op: str, x: str, axes: list[int], output: str = "") -> str:
        """Add a reduction that keeps its axes; before opset 18 they are an attribute."""
        if self.opset < AXES_AS_INPUT:
            return self.add(op, x, output=output, axes=axes)
        return self.add(op, x, self.constant(np.array(axes, np.int64)), output=output)

    def keep(self, node: NodeProto) -> None:
        """Add a node as it is."""
        node.doc_string = self._layer
        self.nodes.append(node)

    def changed(self, node: NodeProto, inputs: Mapping[int, str] | None = None,
                without: tuple[str, ...] = (), **attributes: Any) -> None:  # fmt: skip
        """Add a node with other attributes or inputs."""
        copy = NodeProto()
        copy.CopyFrom(node)
        kept = [a for a in node.attribute if a.name not in (*attributes, *without)]
        del copy.attribute[:]
        copy.attribute.extend(kept)
        copy.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
        for place, name in (inputs or {}).items():
            copy.input[place] = name
        self.keep(copy)
