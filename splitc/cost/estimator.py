# SPDX-License-Identifier: Apache-2.0
"""Who predicts what layers take on a board: a pack that knows its own code, else a roofline."""

from __future__ import annotations

from typing import Protocol

from splitc.cost.board import Board
from splitc.cost.stress import LayerTerms
from splitc.ir.graph import Layer, LayerGraph
from splitc.plugins import find, plugins


class Estimator(Protocol):
    """Predicts what layers take on the boards that a pack makes code for."""

    @property
    def label(self) -> str:
        """What it predicts from, in words."""
        ...

    def answers(self, board: Board) -> bool:
        """Whether it knows a board."""
        ...

    def terms(self, graph: LayerGraph, board: Board) -> tuple[LayerTerms | None, ...]:
        """What each layer's time is made of, in the graph's order; None where it knows not."""
        ...


def estimator_of(board: Board) -> Estimator | None:
    """The first installed one that knows a board."""
    made: list[Estimator] = [find("estimators", name)() for name in plugins().estimators]
    return next((each for each in made if each.answers(board)), None)


def roofline(board: Board, graph: LayerGraph, layer: Layer) -> LayerTerms:
    """A layer's time by the board's efficiency of its kind.

    It takes the longest of its arithmetic at that share of the peak, its weights over the memory
    bandwidth, and its activations over the cache's or memory's, plus a fixed overhead. Views,
    inputs and channels are free.

    References:
        Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.
    """
    if layer.kind in ("view", "channel"):
        return LayerTerms()
    read = sum(graph.tensors[name].nbytes or 0 for name in dict.fromkeys(layer.inputs))
    moved = read + sum(t.nbytes or 0 for t in layer.outputs)
    fits = moved + layer.param_bytes <= board.cache_bytes
    bandwidth = board.cache_bandwidth if fits else board.memory_bandwidth
    share = getattr(board.efficiency, layer.kind, board.efficiency.elementwise)
    return LayerTerms(
        board.layer_overhead_s,
        layer.flops / (board.peak_flops * share),
        max(moved / bandwidth, layer.param_bytes / board.memory_bandwidth),
    )
