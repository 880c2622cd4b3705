# SPDX-License-Identifier: Apache-2.0
"""Distributions of what arrives of a boundary, and those of bursts of loss, drawn.

References:
    Gilbert, "Capacity of a Burst-Noise Channel", Bell System Technical Journal 39(5), 1960.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from splitc.link.loss_latency import GilbertElliott
from splitc.link.packets import Chunks
from splitc.link.parity_groups import parity_groups, there

_DRAWS, _LEAST_DRAWS, _MOST_PACKETS = 20_000, 1_000, 20_000_000
"""Boundaries that are drawn: fewer where they have many packets."""
_MOST_ROUNDS = 1_000


@dataclass(frozen=True)
class Shares:
    """A distribution over the share of a boundary's elements that is missing.

    Args:
        values: Shares, in no order [cases].
        pmf: The chance of each; they sum to 1 [cases].
    """

    values: NDArray[np.float64]
    pmf: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """The expected share."""
        return float(np.dot(self.values, self.pmf))


class Rounds(NamedTuple):
    """A distribution over how often packets are sent until all arrived.

    Args:
        rounds: How often the unluckiest was [cases].
        sends: How many were sent, all together [cases].
        pmf: The chance of each pair [cases].
    """

    rounds: NDArray[np.float64]
    sends: NDArray[np.float64]
    pmf: NDArray[np.float64]


@functools.lru_cache(maxsize=1024)
def missing_in_bursts(
    elements: Chunks, burst: GilbertElliott, parity_percent: int = 0, seed: int = 0
) -> Shares:
    """The share of elements that is missing when packets go once and losses come in bursts.

    Drawn, 20,000 boundaries unless they are large: the same for the same seed.

    Args:
        elements: In packets.
        burst: Of the link.
        parity_percent: Parity packets for 100 of data, behind them; 0 is none.
        seed: Of the losses.

    Raises:
        UsageError: A value is out of its range.
    """
    packets = elements.packets
    groups = parity_groups(packets, parity_percent) if parity_percent else []
    every = packets + sum(len(group.blocks) for group in groups)
    came = ~_lost(burst, _draws(every), every, np.random.default_rng(seed))
    gone = ~there(groups, packets, came)
    full = elements.each * elements.unit.elements
    sizes = np.full(packets, full)
    sizes[-1] = elements.count - (packets - 1) * full
    values, times = np.unique(gone @ sizes, return_counts=True)
    return Shares(values / elements.count, times / times.sum())


@functools.lru_cache(maxsize=64)
def rounds_in_bursts(packets: int, burst: GilbertElliott, seed: int = 0) -> Rounds:
    """How many packets are sent in how many rounds until all arrived, drawn.

    The model counts packets and not time: a round goes on in the state that the last left.

    Args:
        packets: Of the boundary.
        burst: Of the link.
        seed: Of the losses.
    """
    rng, frames = np.random.default_rng(seed), _draws(packets)
    left = np.full(frames, packets)
    losing = rng.random(frames) < burst.loss_rate
    begun, sends, rounds = False, np.zeros(frames), np.zeros(frames)
    for _ in range(_MOST_ROUNDS):
        if not left.any():
            break
        sends += left
        rounds += left > 0
        lost = np.zeros(frames, np.int64)
        for place in range(int(left.max())):
            sent = left > place
            if begun:
                losing = np.where(sent, _next(burst, losing, rng), losing)
            begun = True
            lost += losing & sent
        left = lost
    return Rounds(rounds, sends, np.where(left == 0, 1.0, 0.0) / frames)


def _draws(packets: int) -> int:
    return max(_LEAST_DRAWS, min(_DRAWS, _MOST_PACKETS // packets))


def _lost(
    burst: GilbertElliott, frames: int, packets: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which packets are lost [frames, packets]; each frame begins in the stationary state."""
    lost = np.empty((packets, frames), np.bool_)
    losing = rng.random(frames) < burst.loss_rate
    lost[0] = losing
    for place in range(1, packets):
        losing = _next(burst, losing, rng)
        lost[place] = losing
    return lost.T


def _next(
    burst: GilbertElliott, losing: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Whether the next packet of each frame is lost."""
    draws = rng.random(len(losing))
    return np.where(losing, draws >= burst.ends, draws < burst.begins)
