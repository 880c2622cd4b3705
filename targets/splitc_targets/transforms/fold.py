# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""What depends on constants only is computed now, and what changes nothing is dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from splitc_targets.graph.graph import Graph, Node, Value, constant

Array = np.ndarray[Any, Any]


def _sliced(
    node: Node, x: Array, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int],
    steps: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """As many elements of each axis as the result has, from where they start."""
    for axis, start, step in zip(axes, starts, steps or [1] * len(axes), strict=True):
        size = x.shape[axis]
        first = start + size if start < 0 else start
        first = min(max(first, 0), size if step > 0 else size - 1)
        x = np.take(x, first + step * np.arange(node.output.shape[axis]), axis)
    return x


def _largest(node: Node, x: Array) -> Array:
    axes = node.attrs["axis"]
    return x.max(None if axes is None else tuple(axes), keepdims=node.attrs["keepdims"])


_FOLD: dict[str, Callable[..., Array]] = {
    "reshape": lambda node, x, shape: x.reshape(node.output.shape),
    "permute_dims": lambda node, x: x.transpose(node.attrs["axes"]),
    "broadcast_to": lambda node, x, shape: np.broadcast_to(x, shape),
    "expand_dims": lambda node, x: x.reshape(node.output.shape),
    "squeeze": lambda node, x: x.reshape(node.output.shape),
    "flatten": lambda node, x: x.reshape(node.output.shape),
    "astype": lambda node, x: x.astype(node.output.dtype),
    "add": lambda node, x, y: x + y,
    "subtract": lambda node, x, y: x - y,
    "multiply": lambda node, x, y: x * y,
    "divide": lambda node, x, y: (x / y) if x.dtype.kind == "f" else _truncated(x, y),
    "sqrt": lambda node, x: np.sqrt(x),
    "negative": lambda node, x: -x,
    "power": lambda node, x, y: np.power(x, y),
    "maximum": lambda node, x, y: np.maximum(x, y),
    "minimum": lambda node, x, y: np.minimum(x, y),
    "isnan": lambda node, x: np.isnan(x),
    "less": lambda node, x, y: x < y,
    "greater": lambda node, x, y: x > y,
    "equal": lambda node, x, y: x == y,
    "where": lambda node, c, x, y: np.where(c, x, y),
    "max": _largest,
    "take": lambda node, x, i: np.take(x, i, axis=node.attrs["axis"], mode="wrap"),
    "strided_slice": _sliced,
    "stack": lambda node, xs: np.stack(xs, axis=node.attrs["axis"]),
    "concat": lambda node, xs: np.concatenate(xs, axis=node.attrs["axis"]),
}
"""Operations on constants that numpy does when compiling: (node, arguments) -> numbers."""


def _truncated(x: Array, y: Array) -> Array:
    """The quotient of integers, towards zero."""
    quotient = np.floor_divide(np.abs(x), np.abs(y))
    return np.sign(x) * np.sign(y) * quotient


def fold(graph: Graph) -> None:
    """Compute what depends on constants only."""
    replaced: dict[Value, Value] = {}
    kept: list[Node] = []

    def known(arg: Any) -> Any:
        if isinstance(arg, list):
            return [known(each) for each in arg]
        if isinstance(arg, Value):
            return replaced.get(arg, arg).data
        return arg

    for node in graph.nodes:
        ready = all(replaced.get(v, v).data is not None for v in node.inputs)
        if node.op in _FOLD and ready and node.inputs and len(node.outputs) == 1:
            data = _FOLD[node.op](node, *[known(arg) for arg in node.args])
            data = np.asarray(data, dtype=node.output.dtype)
            if data.size <= _LARGEST or (node.op in _MOVES and node.op != "broadcast_to"):
                replaced[node.output] = constant(data)
                continue
        kept.append(node)
    graph.nodes = kept
    graph.replace(replaced)


_MOVES = ("reshape", "permute_dims", "expand_dims", "squeeze", "flatten", "broadcast_to")


_LARGEST = 1 << 22
"""Elements of a computed constant that may be stored rather than computed at run time."""


def drop_identities(graph: Graph) -> None:
    """Operations that give back an input: dropout, same-shape reshapes, choices that are known.

    A constant that is one number all over becomes that number.
    """
    replaced: dict[Value, Value] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        _repeat_one(node)
        first = _chosen(node) or (node.inputs[0] if node.inputs else None)
        same = first is not None and (first.shape, first.dtype) == (
            node.output.shape, node.output.dtype,
        )  # fmt: skip
        if node.op == "nn.dropout" or (same and (node.op in _IDENTITIES or _chosen(node))):
            replaced[node.output] = first  # type: ignore[assignment]
        else:
            kept.append(node)
    graph.nodes = kept
    graph.replace(replaced)


def _chosen(node: Node) -> Value | None:
    """What a condition that is the same all over chooses."""
    if node.op != "where" or node.args[0].data is None:
        return None
    condition, yes, no = node.args
    one = _one_number(condition)
    return None if one is None else (yes if one else no)


def _repeat_one(node: Node) -> None:
    """Read one number where a constant beside a tensor of the result's shape repeats it."""
    if node.op not in _BESIDE or len(node.args) != 2:
        return
    for here, other in ((0, 1), (1, 0)):
        value, beside = node.args[here], node.args[other]
        if not isinstance(value, Value) or value.size <= 1 or not isinstance(beside, Value):
            continue
        one = _one_number(value) if beside.shape == node.output.shape else None
        if one is not None:
            node.args[here] = constant(np.asarray(one, value.dtype))


def _one_number(value: Value) -> Any:
    """The number that a constant is all over, zeros of either sign apart; None where none is."""
    if value.data is None or not value.size:
        return None
    data = np.ascontiguousarray(value.data)
    first = data.reshape(-1)[0]
    alike = data.tobytes() == np.full_like(data, first).tobytes()
    return first if alike else None


_BESIDE = ("add", "subtract", "multiply", "divide", "maximum", "minimum")

_IDENTITIES = (
    "reshape", "broadcast_to", "astype", "squeeze", "expand_dims", "flatten", "tile",
)  # fmt: skip
