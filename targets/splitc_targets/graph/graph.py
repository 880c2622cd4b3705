# SPDX-License-Identifier: Apache-2.0
"""A part's operations while rules choose among them: nodes in the order they run, and values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

NARROW = ("uint8", "int8", "float16", "bfloat16")
"""Types smaller than what is computed with."""


@dataclass(eq=False, repr=False)
class Value:
    """A tensor: shape in elements, numpy's name of its element type, and where it comes from.

    Args:
        data: Its numbers, for a constant.
        half: Whether the network has it as float16, whatever it is computed in.
    """

    shape: tuple[int, ...]
    dtype: str
    producer: Node | None = None
    data: np.ndarray[Any, Any] | None = None
    half: bool = False

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)


@dataclass(eq=False, repr=False)
class Node:
    """An operation.

    Args:
        op: Its name in Relax, without "relax."; rewrites add names of their own.
        args: Its arguments: values, lists of values, and plain Python for the rest.
        attrs: Its attributes by name.
        outputs: The values it gives.
        call: The Relax call, for operations that no rule writes.
        family: The family of kernels that computes it, where that was chosen.
        layers: Names of the network's layers whose work it does, where they are known.
    """

    op: str
    args: list[Any]
    attrs: dict[str, Any]
    outputs: list[Value] = field(default_factory=list[Value])
    call: Any = None
    family: str = ""
    layers: tuple[str, ...] = ()

    @property
    def inputs(self) -> list[Value]:
        """Every value among the arguments, those inside lists too."""
        found: list[Value] = []
        for arg in self.args:
            if isinstance(arg, Value):
                found.append(arg)
            elif isinstance(arg, list):
                parts = cast("list[Any]", arg)
                found += [each for each in parts if isinstance(each, Value)]
        return found

    @property
    def output(self) -> Value:
        """Its only output."""
        return self.outputs[0]


@dataclass(eq=False, repr=False)
class Graph:
    """Operations in the order they run, from inputs to outputs.

    Args:
        layers: Names of the network's layers in its order, where they are known.
    """

    inputs: list[Value]
    nodes: list[Node]
    outputs: list[Value]
    single: bool = True
    layers: tuple[str, ...] = ()

    def consumers(self) -> dict[Value, list[Node]]:
        """The nodes that read each value; a node that reads it twice counts once."""
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                found.setdefault(value, []).append(node)
        return found

    def replace(self, replaced: dict[Value, Value]) -> None:
        """Have every reader of a value read another; chains of replacements are followed.

        New operations that compute the other do the work of the value's layers.
        """
        if not replaced:
            return

        def final(value: Any) -> Any:
            while isinstance(value, Value) and value in replaced:
                value = replaced[value]
            return value

        for node in self.nodes:
            node.args = [
                [final(each) for each in cast("list[Any]", arg)]
                if isinstance(arg, list)
                else final(arg)
                for arg in node.args
            ]
        self.outputs = [final(value) for value in self.outputs]
        for value in replaced:
            if value.producer is not None:
                _take_over(final(value), value.producer.layers)

    def prune(self) -> None:
        """Drop nodes that nothing reads."""
        wanted = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if any(value in wanted for value in node.outputs):
                wanted.update(node.inputs)
                kept.append(node)
        self.nodes = kept[::-1]


def joined(*layers: Iterable[str]) -> tuple[str, ...]:
    """Names of layers, each once, in the order that they are met."""
    return tuple(dict.fromkeys(name for names in layers for name in names))


def _take_over(value: Value, layers: tuple[str, ...]) -> None:
    """Have the new operations that compute a value, those without layers, do some' work."""
    pending = [value.producer]
    while pending:
        node = pending.pop()
        if node is not None and layers and not node.layers:
            node.layers = layers
            pending += [each.producer for each in node.inputs]


def made(op: str, args: Iterable[Any], shape: tuple[int, ...], dtype: str, **attrs: Any) -> Node:
    """A new node with one output."""
    node = Node(op, list(args), attrs)
    node.outputs.append(Value(shape, dtype, node))
    return node


_WIDEST = 2.0**16


def whole_numbers(weights: Any) -> bool:
    """Whether weights are integers beyond 1: those of a quantised layer, whose sums are exact.

    What would round them, a scale in the weights or Winograd's algorithm, is left out then; the
    latter but where a quantised layer rounds the scaled sums itself.
    """
    largest = np.abs(weights).max(initial=0.0)
    return bool(1 < largest < _WIDEST and np.array_equal(weights, np.rint(weights)))


def usual_layouts(node: Node) -> bool:
    """Whether a convolution's tensors are described as rules read them: channels first."""
    layouts = (node.attrs["data_layout"], node.attrs["kernel_layout"])
    return layouts in (("NCHW", "OIHW"), ("NCW", "OIW"))


def is_depthwise(node: Node) -> bool:
    """Whether a convolution has as many groups as input and output channels, more than one."""
    x, w = node.args[0], node.args[1]
    return node.attrs["groups"] == x.shape[1] == w.shape[0] and x.shape[1] > 1


def constant(data: np.ndarray[Any, Any]) -> Value:
    """A constant."""
    return Value(tuple(data.shape), str(data.dtype), None, data)
