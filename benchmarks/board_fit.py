# SPDX-License-Identifier: Apache-2.0
"""Which figures of a board file fit measured times best?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from splitc.arrays import Array
from splitc.cost.board import Board
from splitc.cost.prices import BoardCost
from splitc.ir.graph import LayerGraph

SHARES = ("conv", "conv1x1", "conv3x3", "depthwise", "gemm", "pool", "norm", "elementwise")
OTHERS = ("memory_bandwidth", "cache_bandwidth", "layer_overhead_s")
KIND_WEIGHT, DRAW_WEIGHT = 0.5, 0.15
"""Of a kind's residual and of a draw; a network's is 1."""
LEAST, MOST = 1e-3, 4.0
"""Of a share; 4 is what the largest form of Winograd saves."""


@dataclass(frozen=True)
class Measured:
    """A network's times: the whole, and its kernels' by the kind they count under.

    Args:
        kinds: The kind that each layer counts under.
    """

    name: str
    ms: float
    kind_ms: dict[str, float]
    graph: LayerGraph = field(repr=False)
    kinds: tuple[str, ...] = field(repr=False)


def predicted_kinds(board: Board, network: Measured) -> dict[str, float]:
    """Predicted milliseconds by the kind that layers count under."""
    found: dict[str, float] = {}
    seconds = BoardCost(board, by="shares").seconds(network.graph)
    for kind, layer_s in zip(network.kinds, seconds, strict=True):
        found[kind] = found.get(kind, 0.0) + 1e3 * layer_s
    return found


def sums(each: Sequence[dict[str, float]]) -> dict[str, float]:
    """Every kind's sum over all networks."""
    kinds = dict.fromkeys(kind for one in each for kind in one)
    return {kind: sum(one.get(kind, 0.0) for one in each) for kind in kinds}


def implied(board: Board, measured: Sequence[Measured]) -> dict[str, float]:
    """The share of the peak that each kind's kernels reached: FLOPs over time and peak."""
    times = sums([one.kind_ms for one in measured])
    flops = dict.fromkeys(SHARES, 0)
    for one in measured:
        for layer, kind in zip(one.graph.layers, one.kinds, strict=True):
            if layer.kind == kind and kind in flops:
                flops[kind] += layer.flops
    rates = {kind: 1e3 * flops[kind] / times[kind] for kind in SHARES if times.get(kind)}
    return {kind: rate / board.peak_flops for kind, rate in rates.items()}


def fit(board: Board, measured: Sequence[Measured]) -> Board:
    """The board with figures fitted: least squares on the logarithm of predicted over measured.

    A residual for every network and one for every kind's sum; shares are drawn to what their
    kernels reached, the other figures to the file's.
    """
    times = sums([one.kind_ms for one in measured])
    shares = implied(board, measured)
    start = np.log([*shares.values(), *(getattr(board, name) for name in OTHERS)])
    low, high = start - 3, start + 3
    low[: len(shares)], high[: len(shares)] = np.log(LEAST), np.log(MOST)

    def made(figures: Array) -> Board:
        values = dict(zip((*shares, *OTHERS), np.exp(figures).tolist(), strict=True))
        own = {kind: values.pop(kind) for kind in shares}
        efficiency = msgspec.structs.replace(board.efficiency, **own)
        return msgspec.structs.replace(board, efficiency=efficiency, **values)

    def residuals(figures: Array) -> Array:
        guesses = [predicted_kinds(made(figures), one) for one in measured]
        wholes = [sum(g.values()) / one.ms for g, one in zip(guesses, measured, strict=True)]
        whole_kinds = sums(guesses)
        kinds = [whole_kinds[kind] / times[kind] for kind in shares]
        draws = DRAW_WEIGHT * (figures - start)
        return np.concatenate([np.log(wholes), KIND_WEIGHT * np.log(kinds), draws])

    return made(_least_squares(residuals, start, low, high))


def _least_squares(
    residuals: Callable[[Array], Array], start: Array, low: Array, high: Array
) -> Array:
    """Where the squares of residuals sum to least, by Levenberg and Marquardt's method."""
    here, damping, step = np.clip(start, low, high), 1.0, 1e-4
    found = residuals(here)
    while damping < 1e6:
        moved = (residuals(here + step * axis) - found for axis in np.eye(len(here)))
        slope = np.stack([change / step for change in moved], axis=1)
        normal = slope.T @ slope + damping * np.eye(len(here))
        there = np.clip(here - np.linalg.solve(normal, slope.T @ found), low, high)
        tried = residuals(there)
        if tried @ tried < 0.9999 * (found @ found):
            here, found, damping = there, tried, 0.3 * damping
        else:
            damping *= 10
    return here


def toml(board: Board) -> str:
    """The fitted figures as a board file has them, to two digits."""
    efficiency: dict[str, Any] = msgspec.structs.asdict(board.efficiency)
    others = [f"{name} = {float(f'{getattr(board, name):.2g}')}" for name in OTHERS]
    shares = [f"{name} = {float(f'{efficiency[name]:.2g}')}" for name in SHARES]
    return "\n".join([*others, "[efficiency]", *shares])
