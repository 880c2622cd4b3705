# SPDX-License-Identifier: Apache-2.0
"""How good is a prediction of cuts? Regret, Kendall's tau and error against measured times."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt

LEAST = 0.01
"""Of a network's time: what a part counts with that takes less."""


@dataclass(frozen=True)
class Option:
    """A cut, or the whole network on one side, over one link.

    Args:
        name: The layer that the cut is after; or what runs all.
        predicted_s: Seconds from input to result.
        halves_s: The same, of head and tail as they were measured: in the even rounds, and in
            the odd ones.
    """

    name: str
    predicted_s: float
    halves_s: tuple[float, float]

    @property
    def measured_s(self) -> float:
        """What was measured in all rounds."""
        return statistics.fmean(self.halves_s)


@dataclass(frozen=True)
class Score:
    """What the prediction is worth for one network over one link.

    Args:
        chosen: What is predicted to be best.
        best: What was measured to be.
        regret: The chosen one's measured time over the best's, minus one.
        tau: Between predicted and measured times of all options.
        tau_again: Between the measured times of the even and the odd rounds: what noise allows.
    """

    network: str
    link: str
    chosen: str
    best: str
    regret: float
    tau: float
    tau_again: float

    @staticmethod
    def of(network: str, link: str, options: Sequence[Option]) -> Score:
        """That of all options."""
        chosen = min(options, key=lambda one: one.predicted_s)
        best = min(options, key=lambda one: one.measured_s)
        even, odd = ([one.halves_s[half] for one in options] for half in (0, 1))
        tau = kendall_tau([one.predicted_s for one in options], [one.measured_s for one in options])
        return Score(
            network, link, chosen.name, best.name, chosen.measured_s / best.measured_s - 1,
            tau, kendall_tau(even, odd),
        )  # fmt: skip


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's tau-b of two rankings: 1 for the same order, -1 for the reverse.

    Of a ranking in which all are equal, 0.

    References:
        Kendall, "The treatment of ties in ranking problems", Biometrika 33(3), 1945.
    """
    agreed = only_first = only_second = 0
    for i, j in combinations(range(len(first)), 2):
        a, b = _sign(first[i] - first[j]), _sign(second[i] - second[j])
        agreed += a * b
        only_first += a != 0
        only_second += b != 0
    return agreed / sqrt(only_first * only_second) if only_first and only_second else 0.0


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


@dataclass(frozen=True)
class PartError:
    """How far off predicted times of one side's parts of a network are.

    Args:
        parts: How many.
        error: Mean of the relative errors, without their signs, of measured times not below
            `LEAST` of the longest.
        bias: Median of predicted over measured.
    """

    network: str
    side: str
    parts: int
    error: float
    bias: float

    @staticmethod
    def of(network: str, side: str, pairs: Sequence[tuple[float, float]]) -> PartError:
        """That of pairs of predicted and measured seconds."""
        least = LEAST * max(measured for _, measured in pairs)
        error = statistics.fmean(
            abs(predicted - measured) / max(measured, least) for predicted, measured in pairs
        )
        bias = statistics.median(predicted / measured for predicted, measured in pairs)
        return PartError(network, side, len(pairs), error, bias)
