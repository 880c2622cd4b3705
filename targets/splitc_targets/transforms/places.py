# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Places that count from either end, which kernels that read there bring within by themselves."""

from __future__ import annotations

import numpy as np

from splitc_targets.graph.graph import Graph, Node, Value
from splitc_targets.kernels import gather


def take_in_ends(graph: Graph) -> None:
    """Have gathers read places as the network has them: below 0 from the end, and of any size.

    They arrive as where(p < 0, p + size, p), with bounds. A node whose places are read so has
    the attribute `either_end`, and no loops of TVM's, which would trust them.
    """
    for node in graph.nodes:
        sizes = _sizes(node)
        if sizes is None or not gather.fits(node):
            continue
        bare = _unbounded(node.args[1], sizes)
        whole = _counted_from_either_end(bare, sizes)
        if whole is None:
            continue
        node.args[1] = whole
        node.attrs = {**node.attrs, "either_end": True}
        node.call = None
    graph.prune()


def _sizes(node: Node) -> tuple[int, ...] | None:
    """The extents of the dimensions that a gather's places are in."""
    if node.op not in ("take", "gather_elements", "gather_nd"):
        return None
    x, places = node.args[:2]
    if not isinstance(places, Value) or places.data is not None:
        return None
    if node.op == "gather_nd":
        first = node.attrs["batch_dims"]
        return x.shape[first : first + places.shape[-1]]
    axis = node.attrs["axis"]
    return None if axis is None or not x.shape else (x.shape[axis % len(x.shape)],)


def _unbounded(places: Value, sizes: tuple[int, ...]) -> Value:
    """Places before they are bounded by the first and the last of a dimension."""
    for op, ends in (("minimum", [n - 1 for n in sizes]), ("maximum", [0] * len(sizes))):
        node = places.producer
        if node is not None and node.op == op and _holds(node.args[1], ends):
            places = node.args[0]
    return places


def _counted_from_either_end(places: Value, sizes: tuple[int, ...]) -> Value | None:
    """The p of where(p < 0, p + size, p)."""
    node = places.producer
    if node is None or node.op != "where":
        return None
    test, behind, whole = (node.args[0].producer, node.args[1].producer, node.args[2])
    if test is None or behind is None or (test.op, behind.op) != ("less", "add"):
        return None
    same = test.args[0] is whole and behind.args[0] is whole and whole.shape == places.shape
    known = _holds(test.args[1], [0]) and _holds(behind.args[1], sizes)
    return whole if same and known else None


def _holds(value: Value, numbers: tuple[int, ...] | list[int]) -> bool:
    """Whether a constant is these numbers, or the one that all of them are."""
    if value.data is None or value.data.ndim > 1 or value.size not in (1, len(numbers)):
        return False
    return bool((value.data == np.array(numbers)).all())
