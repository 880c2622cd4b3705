# SPDX-License-Identifier: Apache-2.0
"""Who predicts what layers take on a board: a pack that knows its own code, else a roofline."""

from __future__ import annotations

from typing import Protocol

from splitc.cost.board import Board, Gpu
from splitc.cost.precision import product_flops
from splitc.cost.stress import LayerTerms
from splitc.ir.graph import Layer, LayerGraph, Tensor
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

    def calibrated(self, board: Board) -> str:
        """In words, the measured times that a board's figures are fitted to; "" where none."""
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

    A graphics processor's precision counts: products by weights are at its tensor cores' rate, and
    in float16 they have half the bytes, as floats between layers have. Products of two tensors,
    which are attention's as a rule, are in float32 whatever the precision.

    References:
        Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.
    """
    if layer.kind in ("view", "channel"):
        return LayerTerms()
    halves = isinstance(board.unit, Gpu) and board.unit.precision == "float16"
    read = [graph.tensors[name] for name in dict.fromkeys(layer.inputs)]
    moved = sum(_kept_bytes(tensor, halves=halves) for tensor in (*read, *layer.outputs))
    rounded = layer.kind in _PRODUCTS and layer.param_bytes > 0
    weights = layer.param_bytes / 2 if halves and rounded else layer.param_bytes
    fits = moved + weights <= board.cache_bytes
    bandwidth = board.cache_bandwidth if fits else board.memory_bandwidth
    share = getattr(board.efficiency, layer.kind, board.efficiency.elementwise)
    peak = product_flops(board) if rounded else board.peak_flops
    return LayerTerms(
        board.layer_overhead_s,
        layer.flops / (peak * share),
        max(moved / bandwidth, weights / board.memory_bandwidth),
    )


_PRODUCTS = ("conv", "conv1x1", "conv3x3", "gemm")
"""Kinds of layers that tensor cores compute."""


def _kept_bytes(tensor: Tensor, *, halves: bool) -> float:
    """Bytes of a tensor between layers; 0 where they depend on data."""
    size = tensor.nbytes or 0
    return size / 2 if halves and tensor.dtype == "float32" else size
