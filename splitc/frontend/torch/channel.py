# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""A network with its channels on: what the tail gets over the link that it was trained for."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from splitc.frontend.torch.layers import Layers
from splitc.frontend.torch.split import extract
from splitc.frontend.torch.trace import as_at_inference
from splitc.frontend.torch.values import Keys
from splitc.ir.chain import CHANNEL, FLOATS
from splitc.ir.cut import Cut
from splitc.ir.graph import Layer, LayerGraph, Tensor

Given = dict[str, torch.Tensor]


@contextmanager
def channels_on(module: nn.Module, seed: int) -> Generator[None]:
    """Turn the channels of a network on and seed them; afterwards they are as before.

    A channel is a module that says so by what it has: `transmit`, `on`, `seed`, `reseed`.
    """
    found: list[Any] = [each for each in module.modules() if hasattr(each, "transmit")]
    before = [(each, each.on, each.seed) for each in found]
    for each in found:
        each.on = True
        each.reseed(seed)
    try:
        yield
    finally:
        for each, on, was in before:
            each.on = on
            each.reseed(was)


class Watch(fx.Interpreter):
    """Runs a graph and keeps what some of its nodes give."""

    def __init__(self, module: fx.GraphModule, nodes: Collection[fx.Node]) -> None:
        super().__init__(module)
        self.nodes = nodes
        self.seen: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """What a node gives, kept where it is watched."""
        made = super().run_node(n)
        if n in self.nodes:
            self.seen[n] = made
        return made


def watch(
    module: fx.GraphModule, layers: Layers, feed: Sequence[torch.Tensor], tensors: Sequence[str]
) -> Given:
    """What some tensors of a network hold, in eval mode and without gradients."""
    ends = {name: layers.element[name] for name in tensors}
    runner = Watch(module, {node for node, _ in ends.values()})
    with as_at_inference(module):
        runner.run(*feed)
    return {name: taken(runner.seen[node], keys).clone() for name, (node, keys) in ends.items()}


def taken(value: Any, keys: Keys) -> torch.Tensor:
    """The tensor under some keys of what a node gives."""
    for key in keys:
        value = value[key]
    return value


@dataclass(frozen=True)
class Way:
    """The channels behind a tensor that crosses.

    Args:
        into: What the first of them reads.
        out: What the last of them makes.
        channels: Their names, in order.
    """

    into: str
    out: str
    channels: tuple[str, ...]


def channel_way(graph: LayerGraph, tensor: str) -> Way | None:
    """The channels right behind a tensor, or behind what makes its integers floats again."""
    into, found = tensor, ()
    while not (found := _channels_behind(graph, into)):
        readers = graph.readers[into]
        if graph.tensors[tensor].dtype in FLOATS or len(readers) != 1:
            return None
        reader = graph.layers[readers[0]]
        if len(reader.inputs) != 1 or len(reader.outputs) != 1:
            return None
        into = reader.outputs[0].name
    return Way(into, found[-1].outputs[0].name, tuple(layer.name for layer in found))


def _channels_behind(graph: LayerGraph, tensor: str) -> tuple[Layer, ...]:
    for i in graph.readers[tensor]:
        layer = graph.layers[i]
        if layer.kind == CHANNEL:
            return (layer, *_channels_behind(graph, layer.outputs[0].name))
    return ()


def received(
    module: fx.GraphModule, layers: Layers, feed: Sequence[torch.Tensor], cut: Cut, seed: int
) -> Given | None:
    """What the tail gets of each tensor that crosses, with the channels on.

    Where floats cross, it is what the channel leaves. Where integers cross, the channel
    stands behind what makes floats of them, and what it leaves becomes the nearest integers
    by the network's own quantiser: half a bit is nothing that an integer can carry.

    Args:
        module: A network with channels.
        layers: Its layers.
        feed: Values of its inputs.
        cut: A cut of its layers.
        seed: Of what the channels draw.

    Returns:
        Values by tensor name; None where a channel stands anywhere else.
    """
    graph = layers.graph
    ways = {tensor.name: channel_way(graph, tensor.name) for tensor in cut.boundary}
    behind = {name for way in ways.values() if way for name in way.channels}
    if behind != {layer.name for layer in graph.layers if layer.kind == CHANNEL}:
        return None
    made = watch(module, layers, feed, [*ways])
    for name, way in ways.items():
        if way is None:
            continue
        with channels_on(module, seed):
            left = watch(module, layers, feed, [way.out])[way.out]
        quantised = left if way.into == name else _quantised(module, layers, feed, name, way, left)
        if quantised is None:
            return None
        made[name] = quantised
    return made


def _quantised(
    module: fx.GraphModule, layers: Layers, feed: Sequence[torch.Tensor], tensor: str, way: Way,
    left: torch.Tensor,
) -> torch.Tensor | None:  # fmt: skip
    """The integers of a tensor that come nearest to what a channel left of them.

    They are made of it by the layers that made the tensor; where those begin is found by
    comparing: it holds, but for the rounding, what the channel reads.
    """
    names = _upstream(layers.graph, tensor, layers.graph.tensors[way.into])
    if not names:
        return None
    held = watch(module, layers, feed, [*names, way.into, tensor])
    begin = min(names, key=lambda name: float((held[name] - held[way.into]).abs().max()))
    back = extract(module, layers, "dequantiser", [tensor], [way.into], (), ())
    least, most = torch.iinfo(held[tensor].dtype).min, torch.iinfo(held[tensor].dtype).max
    with as_at_inference(module):
        low = back(torch.full_like(held[tensor], least))
        high = back(torch.full_like(held[tensor], most))
        quantiser = extract(module, layers, "quantiser", [begin], [tensor], (), ())
        return quantiser(left.clamp(low, high))


def _upstream(graph: LayerGraph, tensor: str, like: Tensor) -> list[str]:
    """The tensors of one form before a tensor, up to the first layer of several inputs."""
    found: list[str] = []
    while len(inputs := graph.layers[graph.producer[tensor]].inputs) == 1:
        (tensor,) = inputs
        here = graph.tensors[tensor]
        if (here.shape, here.dtype) == (like.shape, like.dtype):
            found.append(tensor)
    return found
