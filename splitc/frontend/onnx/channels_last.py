# SPDX-License-Identifier: Apache-2.0
"""Maps that cross the link channels-last: transposes at the ends of ONNX parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from onnx import GraphProto, NodeProto, helper

from splitc.frontend.onnx.insert import read_instead
from splitc.frontend.onnx.shapes import value_info
from splitc.ir.graph import Tensor


def turn(
    graph: GraphProto, tensors: Mapping[str, Tensor], names: Sequence[str]
) -> dict[str, Tensor]:
    """Have tensors of a part cross channels-last under their own names, in place.

    Returns:
        The part's tensors: inside, each map stands under a name of its own.
    """
    found = dict(tensors)
    inner: dict[str, str] = {}
    for name in names:
        inside = f"{name}.channels_first"
        while inside in found:
            inside += "_"
        inner[name] = inside
        found[inside] = replace(tensors[name], name=inside)
        n, c, height, width = tensors[name].static_shape
        found[name] = replace(tensors[name], shape=(n, height, width, c))
    for node in graph.node:
        read_instead(node, inner)
        for position, name in enumerate(node.output):
            node.output[position] = inner.get(name, name)
    made = {name for node in graph.node for name in node.output}
    first: list[NodeProto] = []
    for name, inside in inner.items():
        if inside in made:
            graph.node.append(_transpose(inside, name, [0, 2, 3, 1]))
        else:
            first.append(_transpose(name, inside, [0, 3, 1, 2]))
    if first:
        rest = list(graph.node)
        del graph.node[:]
        graph.node.extend([*first, *rest])
    for info in (*graph.input, *graph.output):
        if info.name in inner:
            info.CopyFrom(value_info(found[info.name]))
    return found


def _transpose(source: str, target: str, order: list[int]) -> NodeProto:
    name = f"{target}.transpose"
    return helper.make_node("Transpose", [source], [target], name=name, perm=order)
