# SPDX-License-Identifier: Apache-2.0
"""Maps that cross the link channels-last: transposes at the ends of ONNX parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from onnx import GraphProto, NodeProto, helper

from splitc.cut import Cut
from splitc.frontend.onnx_insert import read_instead
from splitc.frontend.onnx_shapes import value_info
from splitc.graph import Layer, LayerGraph, Tensor

_MAPS = ("conv", "conv1x1", "conv3x3", "depthwise", "pool")
"""Kinds of layers whose code lays maps channels-last."""
_THROUGH = ("elementwise", "norm")
"""Kinds of layers that leave a map in the order they find it."""
_KEEPING = ("concat", "batchnormalization", "resize", "cast")
"""Operators of other kinds that do."""


def maps_of(cut: Cut) -> tuple[str, ...]:
    """Boundary tensors that are maps [N, C, H, W] made by layers that work on such maps.

    Network inputs and results keep the layout that the model's user knows.
    """
    graph = cut.graph
    return tuple(
        tensor.name
        for tensor in cut.boundary
        if graph.producer[tensor.name] >= graph.input_count
        and tensor.name not in graph.outputs
        and tensor.dtype in ("float32", "uint8")
        and _is_map(tensor)
        and _from_map(graph, tensor.name)
    )


def _is_map(tensor: Tensor) -> bool:
    """Whether the order of its dimensions makes a difference."""
    shape = tensor.shape
    if shape is None or len(shape) != 4 or None in shape:
        return False
    channels, height, width = (size or 0 for size in shape[1:])
    return channels > 1 and height * width > 1


def _from_map(graph: LayerGraph, name: str) -> bool:
    """Whether the nearest layer upstream that decides the order works on maps."""
    layer: Layer = graph.layers[graph.producer[name]]
    while layer.kind in _THROUGH or layer.op in _KEEPING:
        if not layer.inputs or graph.producer[layer.inputs[0]] < graph.input_count:
            return False
        layer = graph.layers[graph.producer[layer.inputs[0]]]
    return layer.kind in _MAPS


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
