# SPDX-License-Identifier: Apache-2.0
"""Parts of an fx graph: the nodes that some tensors depend on, weights shared with the whole."""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from typing import Any

from torch import fx

from splitc.frontend.torch.form import NAME
from splitc.frontend.torch.layers import TENSOR, Layers
from splitc.frontend.torch.trace import VALUE, graph_module
from splitc.frontend.torch.values import Keys, python_name


def extract(
    module: fx.GraphModule,
    layers: Layers,
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    results: Collection[str],
    turned: Collection[str],
) -> fx.GraphModule:
    """The part of a graph between some of its tensors.

    Args:
        module: The whole network.
        layers: Its layers.
        name: The part's name.
        inputs: Tensors that come in, in this order.
        outputs: Tensors that go out, in this order.
        results: Those of `outputs` that are the network's results.
        turned: Those that cross the link as [N, H, W, C].

    Returns:
        A module that gives one tensor, or a tuple of several; its submodules, parameters and
        buffers are the whole's own objects.
    """
    part = _Part(module, layers, set(turned))
    part.enter(inputs)
    part.copy(part.wanted([part.end(tensor, tensor in results) for tensor in outputs]))
    made = [part.leave(tensor, tensor in results) for tensor in outputs]
    part.graph.output(made[0] if len(made) == 1 else tuple(made))
    part.graph.lint()
    return graph_module(module, part.graph, name)


class _Part:
    def __init__(self, module: fx.GraphModule, layers: Layers, turned: set[str]) -> None:
        self.module = module
        self.layers = layers
        self.turned = turned
        self.graph = fx.Graph()
        self.copies: dict[fx.Node, fx.Node] = {}

    def enter(self, tensors: Sequence[str]) -> None:
        """Placeholders for tensors; turned ones are turned back behind the last of them."""
        made = [self._placeholder(tensor) for tensor in tensors]
        for tensor, node in zip(tensors, made, strict=True):
            inside = self._turn_back(tensor, node) if tensor in self.turned else node
            for source in self.layers.nodes[tensor]:
                self.copies[source] = inside

    def _placeholder(self, tensor: str) -> fx.Node:
        origin, keys = self.layers.element[tensor]
        value = _element(origin.meta[VALUE], keys)
        node = self.graph.placeholder(python_name(tensor))
        node.target = node.name  # unique, and a name that Python allows
        turned = tensor in self.turned
        node.meta |= {VALUE: value.permute(0, 2, 3, 1) if turned else value, NAME: tensor}
        return node

    def _turn_back(self, tensor: str, node: fx.Node) -> fx.Node:
        """In the memory order that the whole has, so that its kernels round in the same way."""
        turned = self._permute(node, (0, 3, 1, 2), f"{tensor}.channels_first")
        straight = self.graph.call_method("contiguous", (turned,))
        straight.meta |= {VALUE: turned.meta[VALUE].contiguous(), NAME: f"{tensor}.contiguous"}
        return straight

    def end(self, tensor: str, is_result: bool) -> tuple[fx.Node, Keys]:
        """The node of the whole that gives a tensor: for a result, with what only passes it on."""
        if is_result:
            return self.layers.results[self.layers.names.index(tensor)]
        return self.layers.element[tensor]

    def wanted(self, ends: Sequence[tuple[fx.Node, Keys]]) -> set[fx.Node]:
        """The nodes that the ends depend on, back to what came in."""
        found: set[fx.Node] = set()
        todo = [node for node, _ in ends]
        while todo:
            node = todo.pop()
            if node not in found and node not in self.copies:
                found.add(node)
                todo += node.all_input_nodes
        return found

    def copy(self, wanted: set[fx.Node]) -> None:
        """Copy nodes in their order."""
        for node in self.module.graph.nodes:
            if node in wanted:
                self.copies[node] = self.graph.node_copy(node, self.copies.__getitem__)

    def leave(self, tensor: str, is_result: bool) -> fx.Node:
        """The part's node for a tensor that goes out."""
        source, keys = self.end(tensor, is_result)
        if (
            not is_result
            and self.layers.nodes[tensor]
            and self.layers.nodes[tensor][0] in self.copies
        ):
            source, keys = self.layers.nodes[tensor][0], ()
        node = self.copies[source]
        for key in keys:
            value = node.meta[VALUE][key]
            node = self.graph.call_function(operator.getitem, (node, key))
            node.meta[VALUE] = value
            node.meta[TENSOR] = tensor
        if tensor not in self.turned:
            return node
        node.meta[TENSOR] = f"{tensor}.channels_first"
        return self._permute(node, (0, 2, 3, 1), tensor)

    def _permute(self, node: fx.Node, order: tuple[int, ...], tensor: str) -> fx.Node:
        turned = self.graph.call_method("permute", (node, *order))
        turned.meta[VALUE] = node.meta[VALUE].permute(*order)
        turned.meta[NAME] = f"{tensor}.transpose"
        turned.meta[TENSOR] = tensor
        return turned


def _element(value: Any, keys: Keys) -> Any:
    for key in keys:
        value = value[key]
    return value
