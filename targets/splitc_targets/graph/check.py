# SPDX-License-Identifier: Apache-2.0
"""Holds a graph against what every rewrite must keep; a rewrite that breaks it is named at once.

Without it a wrong element type or a value read before it is made shows up kernels later, as an
error of TVM's or as a wrong number. Runs in tests, and where `SPLITC_VERIFY=1` is set.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np

from splitc_targets.graph.expression import Arg, Do, Expression, Num
from splitc_targets.graph.graph import Graph, Node, Value


class InvalidGraphError(AssertionError):
    """A rewrite left a graph that means nothing."""


def wanted() -> bool:
    """Whether graphs are to be checked after each rewrite."""
    return os.environ.get("SPLITC_VERIFY", "") not in ("", "0")


def _none(_: Node) -> Iterator[str]:
    return iter(())


def check(graph: Graph, after: str, more: Callable[[Node], Iterator[str]] = _none) -> None:
    """Raise where the graph is broken.

    Args:
        graph: What a rewrite left.
        after: The rewrite's name, for the message.
        more: What else may be wrong with a node: that its family does not compute it.

    Raises:
        InvalidGraphError: Names the rewrite, the node and what is wrong with it.
    """
    made = set(graph.inputs)
    for node in graph.nodes:
        for fault in itertools.chain(_faults(node, made), more(node)):
            given = ", ".join(f"{v.dtype} {v.shape}" for v in node.outputs)
            raise InvalidGraphError(f"after {after}: {node.op} -> {given}: {fault}")
        made.update(node.outputs)
    for value in graph.outputs:
        if value not in made and value.data is None:
            raise InvalidGraphError(f"after {after}: an output is never made")


def _faults(node: Node, made: set[Value]) -> Iterator[str]:
    for arg in node.args:
        parts = cast("list[Any]", arg) if isinstance(arg, list) else [arg]
        if any(isinstance(each, np.ndarray | Node) for each in parts):
            yield "an argument is neither a value nor plain"
    for value in node.inputs:
        if value.data is None:
            if value not in made:
                yield f"reads {value.dtype} {value.shape}, which is not made before it"
        elif value.data.shape != value.shape or str(value.data.dtype) != value.dtype:
            yield f"a constant says {value.dtype} {value.shape} and holds {value.data.dtype}"
    for value in node.outputs:
        if value in made:
            yield "makes what is made already"
        if value.producer is not node:
            yield "makes a value that names another producer"
        if any(size < 0 for size in value.shape):
            yield f"an extent of {value.shape} is negative"
    if not node.outputs:
        yield "makes nothing"
    yield from _shape_faults(node)
    yield from _expression_faults(node)


def _shape_faults(node: Node) -> Iterator[str]:
    inputs = node.inputs
    if node.op in _SAME_SIZE and inputs and inputs[0].size != node.output.size:
        yield f"{inputs[0].shape} has other elements than {node.output.shape}"
    if node.op == "permute_dims" and sorted(inputs[0].shape) != sorted(node.output.shape):
        yield f"{inputs[0].shape} is no permutation of {node.output.shape}"
    if node.op in _MAPS:
        shapes = [value.shape for value in inputs]
        try:
            broadcast = np.broadcast_shapes(*shapes, node.output.shape)
        except ValueError:
            broadcast = None
        if broadcast != node.output.shape:
            yield f"{shapes} do not broadcast to {node.output.shape}"


_MAPS = ("map", "typed map")
_SAME_SIZE = frozenset({"reshape", "flatten", "squeeze", "expand_dims"})


def _expression_faults(node: Node) -> Iterator[str]:
    expression = node.attrs.get("expression")
    if not isinstance(expression, Arg | Num | Do):
        return
    # A kernel's expression is over its own result and the extras, the last of its arguments.
    last = node.args[-1] if node.args else None
    beside = 1 + len(cast("list[Any]", last)) if isinstance(last, list) else 1
    operands = len(node.inputs) if node.op in _MAPS else beside
    for index in sorted(set(_operands(expression))):
        if index >= operands:
            yield f"its expression reads operand {index} of {operands}"


def _operands(expression: Expression) -> Iterator[int]:
    if isinstance(expression, Arg):
        yield expression.index
    elif isinstance(expression, Do):
        for arg in expression.args:
            yield from _operands(arg)
