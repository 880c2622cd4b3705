# SPDX-License-Identifier: Apache-2.0
"""The pass `group-blocks`: number the blocks between which a network may be cut."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Literal, TypeVar

from splitc.errors import PassError
from splitc.ir.graph import Layer, LayerGraph
from splitc.ir.model import Model
from splitc.passes.base import Pass

M = TypeVar("M", bound=Model)
Rule = Literal["exact", "paper"]


@dataclass(frozen=True)
class GroupBlocks(Pass):
    """Number the blocks of a layer graph, so that every block end is a cut point.

    Rewrite::

        %x = input()             %x = input() {block=0}
        %a = conv(%x)      ->    %a = conv(%x) {block=1}
        %b = relu(%a)            %b = relu(%a) {block=2}
        %y = add(%a, %b)         %y = add(%a, %b) {block=2}

    `exact`: a block ends at every layer that lies on all paths from the inputs
    to the results; cutting there sends one layer's output. `paper`: a parallel
    region runs from its fork layer to its join layer, both inside the block, and
    regions that share a layer merge; a subset of the exact cut points.

    Layers, tensors and sizes are unchanged.

    Args:
        rule: `exact` or `paper`.

    References:
        McNamee et al., "The Case for Adaptive Deep Neural Networks in Edge
        Computing", 2020, arXiv:2008.01814, section III.
    """

    name: ClassVar[str] = "group-blocks"

    rule: Rule = "exact"

    def apply(self, model: M) -> M:
        """The model with `block` set on every layer."""
        graph = model.graph
        ends = block_ends(graph, self.rule)
        layers: list[Layer] = []
        block = 0
        for i, layer in enumerate(graph.layers):
            layers.append(replace(layer, block=block))
            block += i in ends
        return model.with_graph(graph.with_layers(layers))

    def ensures(self, before: Model, after: Model) -> None:
        """Blocks count up along the layers, and no edge passes by the end of one."""
        layers = after.graph.layers
        blocks = [-1 if layer.block is None else layer.block for layer in layers]
        steps = [after - before for before, after in pairwise(blocks)]
        if blocks[:1] != [0] or not set(steps) <= {0, 1}:
            raise PassError("blocks do not count up from 0")
        ends = {i for i, step in enumerate(steps) if step}
        passed_by = ends - set(after.graph.dominators)
        if passed_by:
            raise PassError("an edge passes by a block's end", at=layers[min(passed_by)].name)


def block_ends(graph: LayerGraph, rule: Rule) -> frozenset[int]:
    """Positions of the layers that end a block, the last block's left out.

    Their number is the number of cut points.
    """
    points = graph.dominators
    last = len(graph) - 1
    if rule == "exact":
        return frozenset(p for p in points if p != last)
    ends: set[int] = set()
    for before, point, after in zip((None, *points), points, (*points[1:], None), strict=False):
        opens = after is not None and after - point > 1
        closes = before is not None and point - before > 1
        if not opens:
            ends.add(point)
        if opens and not closes and point > 0:
            ends.add(point - 1)
    return frozenset(ends - {last})


def cut_points(graph: LayerGraph, rule: Rule) -> tuple[str, ...]:
    """Names of the layers that end a block, in order, the last block's left out."""
    return tuple(graph.layers[i].name for i in sorted(block_ends(graph, rule)))
