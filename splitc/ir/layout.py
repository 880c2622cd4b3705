# SPDX-License-Identifier: Apache-2.0
"""Which tensors cross the link channels-last: maps that the code at both ends lays so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from splitc.ir.cut import Cut
from splitc.ir.graph import Layer, LayerGraph, Tensor

Layout = Literal["", "channels-last"]
"""The model's own order, or [N, H, W, C] for a map that the model has as [N, C, H, W]."""

Layouts = Mapping[str, Layout]
"""Layouts by tensor name; a tensor that is not named crosses in the model's own order."""

_MAPS = ("conv", "conv1x1", "conv3x3", "depthwise", "pool")
"""Kinds of layers whose code lays maps channels-last."""


_THROUGH = ("elementwise", "norm")
"""Kinds of layers that leave a map in the order they find it."""


_KEEPING = ("concat", "batchnormalization", "resize", "cast")
"""Operators of other kinds that do."""


def layout_of_maps(tensor: Tensor, graph: LayerGraph) -> Layout:
    """How code that lays maps channels-last has a tensor of a network.

    A map [N, C, H, W] that a layer made which works on such maps lies channels-last.
    """
    is_made = graph.producer[tensor.name] >= graph.input_count
    fits = is_made and tensor.dtype in ("float32", "uint8") and _is_map(tensor)
    return "channels-last" if fits and _from_map(graph, tensor.name) else ""


def maps_of(cut: Cut) -> dict[str, Layout]:
    """Channels-last for what crosses a cut and lies so in code that lays maps so, at both ends.

    Network inputs and results keep the layout that the model's user knows.
    """
    graph = cut.graph
    return {
        tensor.name: "channels-last"
        for tensor in cut.boundary
        if tensor.name not in graph.outputs and layout_of_maps(tensor, graph)
    }


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
