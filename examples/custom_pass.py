# SPDX-License-Identifier: Apache-2.0
"""A pass of your own: mark a network's stem, up to a depth, as one block.

Run it: `python examples/custom_pass.py`
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import splitc
from splitc.errors import PassError

M = TypeVar("M", bound=splitc.Model)


@dataclass(frozen=True)
class MarkStem(splitc.Pass):
    """Put the first `depth` layers into block 0 and the rest into block 1.

    Rewrite::

        %a = conv(%x)  ->  %a = conv(%x) {block=0}

    Args:
        depth: Layers in the stem, inputs not counted. At least 1.
    """

    name: ClassVar[str] = "mark-stem"

    depth: int = 1

    def requires(self, model: splitc.Model) -> None:
        """The network must be deeper than the stem."""
        layers = len(model.graph) - model.graph.input_count
        if not 1 <= self.depth < layers:
            raise PassError(f"depth {self.depth} is not in 1 to {layers - 1}")

    def apply(self, model: M) -> M:
        """Number the blocks."""
        graph = model.graph
        stem = graph.input_count + self.depth
        layers = [replace(layer, block=int(i >= stem)) for i, layer in enumerate(graph.layers)]
        return model.with_graph(graph.with_layers(layers))


if __name__ == "__main__":
    text = "%x = input() : 1x3x8x8\n%a = conv(%x) : 1x4x8x8\n%y = relu(%a) : 1x4x8x8\n"
    model = splitc.GraphModel(splitc.parse_graph(text))
    marked, steps = splitc.Pipeline((MarkStem(depth=1),)).trace(model)
    print(marked.graph, end="")
    print(*steps, sep="\n")
