# SPDX-License-Identifier: Apache-2.0
"""Which cuts a bundle should carry: a few nested ones that cost the least over a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splitc.errors import UsageError
from splitc.ir.cut import Cut
from splitc.search.sweep import Sweep, Times

_MOST_STEPS = 100_000
"""Sets that are looked at one by one at most: seconds of work."""
_SAME = 1e-9
"""Regret, relative to the mean latency, that no further route is worth."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class RouteSet:
    """Nested cuts, and what carrying them alone costs.

    Args:
        places: Of the sweep's cuts, smallest head first.
        regret_s: Mean over the conditions of what the best of these takes longer than the best
            of all.
        exact: Whether no other set of as many has less.
    """

    places: tuple[int, ...]
    regret_s: float
    exact: bool


def choose_routes(swept: Sweep, most: int) -> RouteSet:
    """At most so many nested cuts with the least mean regret; as few as reach it.

    By branch and bound, which is exact; where that takes too long, what it has found by then,
    beginning with a greedy choice.

    Raises:
        UsageError: `most` is below 1.
    """
    if most < 1:
        raise UsageError(f"{most} routes", hint="a bundle has one at least")
    times = swept.latency_s
    nested = nested_in(swept.cuts)
    kept = _undominated(times, nested)
    return _Bound(times, nested, kept, most).solve()


def nested_in(cuts: Sequence[Cut]) -> Bools:
    """Whether each cut's head lies within each later one's, and is another [cuts, cuts]."""
    heads = [sum(1 << i for i in cut.extra) | ((1 << cut.prefix) - 1) for cut in cuts]
    found = np.zeros((len(cuts), len(cuts)), np.bool_)
    for i, head in enumerate(heads):
        for j in range(i + 1, len(heads)):
            found[i, j] = head != heads[j] and head & heads[j] == head
    return found


def _undominated(times: Times, nested: Bools) -> list[int]:
    """The cuts that no other is as good as everywhere and as easily nested with others."""
    goes_with = nested | nested.T
    kept = list(range(times.shape[1]))
    for k in range(times.shape[1]):
        rest = [j for j in kept if j != k]
        quicker = np.all(times[:, rest] <= times[:, [k]], axis=0)
        # What goes with k has to go with the other too, which may be in k's place itself.
        others = goes_with[rest] | np.eye(len(goes_with), dtype=np.bool_)[rest]
        as_easily = np.all(others | ~goes_with[k], axis=1)
        if np.any(quicker & as_easily):
            kept.remove(k)
    return kept


class _Bound:
    """Branch and bound over chains of cuts, smallest head first."""

    def __init__(self, times: Times, nested: Bools, kept: Sequence[int], most: int) -> None:
        self._times, self._nested, self._most = times[:, list(kept)], nested, most
        self._kept = kept
        self._least_s = float(times.min(axis=1).mean())
        # The least that all from one on can bring [conditions, cuts + 1].
        behind = np.minimum.accumulate(self._times[:, ::-1], axis=1)[:, ::-1]
        self._behind = np.concatenate([behind, np.full((len(times), 1), np.inf)], axis=1)
        self._steps = 0
        self._best: tuple[float, list[int]] = (np.inf, [])

    def solve(self) -> RouteSet:
        """The best chain."""
        self._greedy()
        nothing = np.full(len(self._times), np.inf)
        self._grow([], nothing)
        mean_s, chosen = self._best
        places = tuple(self._kept[k] for k in chosen)
        return RouteSet(places, max(mean_s - self._least_s, 0.0), self._steps <= _MOST_STEPS)

    def _offer(self, chosen: list[int], mean_s: float) -> None:
        """Take a chain that is better, or as good with fewer."""
        slack = _SAME * self._least_s
        known_s, known = self._best
        fewer = len(chosen) < len(known)
        if mean_s < known_s - slack or (fewer and mean_s <= known_s + slack):
            self._best = (mean_s, chosen)

    def _greedy(self) -> None:
        chosen: list[int] = []
        current = np.full(len(self._times), np.inf)
        while len(chosen) < self._most:
            fits = [k for k in range(len(self._kept)) if self._fits(chosen, k)]
            if not fits:
                return
            means = np.minimum(current[:, None], self._times[:, fits]).mean(axis=0)
            added = fits[int(means.argmin())]
            chosen = sorted([*chosen, added])
            current = np.minimum(current, self._times[:, added])
            self._offer(chosen, float(current.mean()))

    def _fits(self, chosen: Sequence[int], k: int) -> bool:
        return (
            all(self._nested[self._kept[min(j, k)], self._kept[max(j, k)]] for j in chosen)
            and k not in chosen
        )

    def _grow(self, chosen: list[int], current: NDArray[np.float64]) -> None:
        """Look at every chain that begins so and could be better than the best known."""
        start = chosen[-1] + 1 if chosen else 0
        for k in range(start, len(self._kept)):
            # From here on nothing is better than all that is left together.
            bound_s = float(np.minimum(current, self._behind[:, k]).mean())
            if self._steps > _MOST_STEPS or not self._may_win(bound_s, len(chosen) + 1):
                return
            if chosen and not self._nested[self._kept[chosen[-1]], self._kept[k]]:
                continue
            self._steps += 1
            then = np.minimum(current, self._times[:, k])
            self._offer([*chosen, k], float(then.mean()))
            if len(chosen) + 1 < self._most:
                self._grow([*chosen, k], then)

    def _may_win(self, bound_s: float, count: int) -> bool:
        known_s, known = self._best
        slack = _SAME * self._least_s
        return bound_s < known_s - slack or (count < len(known) and bound_s <= known_s + slack)
