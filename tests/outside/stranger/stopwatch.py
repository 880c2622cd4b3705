# SPDX-License-Identifier: Apache-2.0
"""A source of costs: seconds that somebody measured, by kind of layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from splitc.cost.board import Board
from splitc.ir.graph import LayerGraph


@dataclass(frozen=True)
class Stopwatch:
    """So many seconds for each layer of a kind.

    Args:
        board: The machine, for what generates code.
        seconds_of: By kind; kinds that were not measured take no time.
    """

    board: Board
    seconds_of: Mapping[str, float]

    @property
    def label(self) -> str:
        """Where the figures come from."""
        return f"measured by stopwatch on {self.board.name}"

    def seconds(self, graph: LayerGraph) -> tuple[float, ...]:
        """Seconds of each layer, in the graph's order."""
        return tuple(self.seconds_of.get(layer.kind, 0.0) for layer in graph.layers)
