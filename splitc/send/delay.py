# SPDX-License-Identifier: Apache-2.0
"""How long an answer takes, from those that came."""

from __future__ import annotations

_LEAST_S = 1e-3
_MOST_S = 60.0
_BACKOFF, _MOST_BACKOFF = 1.25, 64.0


class Delay:
    """A running estimate of a delay and of its spread, and when to stop expecting it.

        mean   <- 7/8 mean + 1/8 sample
        spread <- 3/4 spread + 1/4 |mean - sample|
        limit   = (mean + max(least, 4 spread)) backoff

    The backoff grows where the limit was too early, until there is a measurement again.

    Args:
        limit_s: What to wait for while nothing was measured.
        least_s: What to wait for at least beyond the mean: the timers' own grain.

    References:
        Paxson, Allman, Chu, Sargent, "Computing TCP's Retransmission Timer", RFC 6298. Its
        least wait of a second is left out: a frame is worth nothing by then.
    """

    def __init__(self, limit_s: float, least_s: float = _LEAST_S) -> None:
        self._first_s = limit_s
        self._least_s = least_s
        self._mean_s: float | None = None
        self._spread_s = 0.0
        self._backoff = 1.0

    def add(self, sample_s: float) -> None:
        """Take one measurement, of what only one question can have brought (Karn's rule)."""
        sample_s = min(max(sample_s, 0.0), _MOST_S)
        self._backoff = 1.0
        if self._mean_s is None:
            self._mean_s, self._spread_s = sample_s, sample_s / 2
            return
        self._spread_s += (abs(self._mean_s - sample_s) - self._spread_s) / 4
        self._mean_s += (sample_s - self._mean_s) / 8

    @property
    def limit_s(self) -> float:
        """Seconds after which what has not come is missed."""
        limit_s = self._first_s
        if self._mean_s is not None:
            limit_s = self._mean_s + max(self._least_s, 4 * self._spread_s)
        return min(limit_s * self._backoff, _MOST_S)

    def too_early(self) -> None:
        """Note that something did not come within the limit: it may have been too short."""
        self._backoff = min(self._backoff * _BACKOFF, _MOST_BACKOFF)
