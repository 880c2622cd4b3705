# SPDX-License-Identifier: Apache-2.0
"""What arrives of boundaries that are drawn: in bursts of loss, or sent again until all arrived.

References:
    Gilbert, "Capacity of a Burst-Noise Channel", Bell System Technical Journal 39(5), 1960.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splitc.errors import UsageError
from splitc.link.loss_latency import GilbertElliott
from splitc.link.packets import Chunks
from splitc.link.parity_groups import parity_groups, there

DRAWS = 20_000
"""Boundaries that are drawn unless they have very many packets."""
_LEAST_DRAWS, _MOST_PACKETS = 1_000, 20_000_000
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


@dataclass(frozen=True)
class Rounds:
    """Boundaries that are sent again, round by round, until all arrived: so many were drawn.

    Args:
        left: Packets that are sent in each round, 0 when nothing is missing any more
            [rounds, draws].
    """

    left: NDArray[np.uint16]

    def seconds(self, packet_s: float, turn_s: float, grace_s: float) -> NDArray[np.float64]:
        """When the last packet is there, from when the first round begins [draws].

        The server asks `grace_s` after the last packet that came; where a round brought nothing,
        twice that after it asked, then four times (docs/wire.md). No question is lost.

        Args:
            packet_s: Of one packet on the link.
            turn_s: From a question to when the first packet that it asks for is on the link's
                far side, but for that packet's own time: a round trip.
            grace_s: See above.
        """
        came_s: NDArray[np.float64] = self.left[0] * packet_s
        asked_s, wait_s = came_s + grace_s, np.full(came_s.shape, grace_s)
        rounds: list[NDArray[np.uint16]] = [*self.left[1:]]
        for sent, left in itertools.pairwise(rounds):
            there_s = asked_s + turn_s + sent * packet_s
            came_s = np.where(sent > 0, there_s, came_s)
            heard = left < sent
            wait_s = np.where(heard, grace_s, 2 * wait_s)
            again_s = np.maximum(asked_s + wait_s, there_s)
            asked_s = np.where(heard, there_s + grace_s, again_s)
        return came_s


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


@functools.lru_cache(maxsize=16)
def rounds_until_all(
    packets: int, loss_rate: float, burst: GilbertElliott | None = None, seed: int = 0
) -> Rounds:
    """Draw boundaries that are sent again until all arrived; each round is what is missing.

    Args:
        packets: Of the boundary, at most 65535.
        loss_rate: p, independent, in [0, 1).
        burst: Losses in bursts in their place. The model counts packets and not time: a round
            goes on in the state that the last left.
        seed: Of the losses.

    Raises:
        UsageError: There would be over 1,000 rounds.
    """
    rng, draws = np.random.default_rng(seed), _draws(packets)
    rows = [np.full(draws, packets, np.uint16)]
    losing = None if burst is None else rng.random(draws) < burst.loss_rate
    while rows[-1].any():
        if len(rows) > _MOST_ROUNDS:
            what = f"packets until all arrived at a loss rate of {loss_rate:g}"
            raise UsageError(what, why=f"it takes over {_MOST_ROUNDS} rounds")
        if burst is None or losing is None:
            rows.append(rng.binomial(rows[-1], loss_rate).astype(np.uint16))
            continue
        lost = np.zeros(draws, np.uint16)
        for place in range(int(rows[-1].max())):
            sent = rows[-1] > place
            if place or len(rows) > 1:
                losing = np.where(sent, _next(burst, losing, rng), losing)
            lost += losing & sent
        rows.append(lost)
    return Rounds(np.array(rows))


def _draws(packets: int) -> int:
    return max(_LEAST_DRAWS, min(DRAWS, _MOST_PACKETS // packets))


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
