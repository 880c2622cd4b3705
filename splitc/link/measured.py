# SPDX-License-Identifier: Apache-2.0
"""What measurements say of a link: losses and their bursts, bandwidth, round trips."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splitc.errors import UsageError
from splitc.link.loss_latency import GilbertElliott


@dataclass(frozen=True)
class Losses:
    """What a stream of packets lost.

    Args:
        packets: Packets sent.
        lost: Those that did not come.
        bursts: Runs of lost packets, one or more each.
    """

    packets: int
    lost: int
    bursts: int

    @staticmethod
    def of(lost: NDArray[np.bool_]) -> Losses:
        """Count them.

        Args:
            lost: True for a lost packet, in the order they were sent [packets].
        """
        begins = lost & ~np.concatenate([[False], lost[:-1]])
        return Losses(len(lost), int(lost.sum()), int(begins.sum()))

    @property
    def rate(self) -> float:
        """Share of packets lost; 0 of none."""
        return self.lost / self.packets if self.packets else 0.0

    @property
    def mean_burst(self) -> float:
        """Mean length of a burst in packets; 0 where nothing was lost."""
        return self.lost / self.bursts if self.bursts else 0.0

    @property
    def gilbert_elliott(self) -> GilbertElliott | None:
        """The model whose rate and mean burst these are; None where it has none to go by.

        With independent losses the mean burst is 1 / (1 - rate).
        """
        if not 0 < self.lost < self.packets:
            return None
        try:
            return GilbertElliott(self.rate, self.mean_burst)
        except UsageError:  # A few packets, all but the first or last lost.
            return None

    @property
    def bursty(self) -> bool:
        """Whether bursts are longer than independent losses explain.

        Their number among independent losses has mean n p (1 - p) and about the variance
        n p (1 - p) (1 - 3 p (1 - p)); four standard deviations fewer are no chance.
        """
        n, spread = self.packets, self.rate * (1 - self.rate)
        return self.bursts < n * spread - 4 * math.sqrt(n * spread * (1 - 3 * spread)) - 1


def train_bandwidth(arrivals_s: NDArray[np.float64], packet_bytes: int) -> float | None:
    """Bits a second of the slowest part of a way, from packets sent at once.

    They come as far apart as that part takes for each. Only neighbours tell it: between others
    something is missing, and whether that took its time there depends on where it got lost. The
    first quarter is left out, which a bucket of tokens lets through at once.

    Args:
        arrivals_s: When each packet came; not a number where it did not, or that is not known
            [packets].
        packet_bytes: Bytes of each on the link.

    Returns:
        The rate; None where there are no neighbours, or no time between them.

    References:
        Dovrolis, Ramanathan, Moore, "Packet-Dispersion Techniques and a Capacity-Estimation
        Methodology", IEEE/ACM Transactions on Networking 12(6), 2004.
    """
    known = np.flatnonzero(~np.isnan(arrivals_s))
    times = arrivals_s[known]
    late = np.flatnonzero(times > times[len(times) // 4]) if len(times) else known
    if not len(late):
        return None
    # From one packet that was the first read of several at once to the last such.
    first, last = known[late[0]], known[np.argmax(times == times[-1])]
    apart_s = np.diff(arrivals_s[first : last + 1])
    apart_s = apart_s[~np.isnan(apart_s)]
    took_s = float(apart_s.sum())
    return len(apart_s) * packet_bytes * 8 / took_s if took_s > 0 else None


@dataclass(frozen=True)
class RoundTrips:
    """How long a packet and its answer took.

    Args:
        count: How many were measured.
        least_s: The shortest, in seconds.
        median_s: The median.
        p99_s: What 99 in 100 did not exceed.
    """

    count: int
    least_s: float
    median_s: float
    p99_s: float

    @staticmethod
    def of(seconds: NDArray[np.float64]) -> RoundTrips:
        """Of measurements, at least one [n]."""
        least, median, p99 = np.quantile(seconds, (0, 0.5, 0.99), method="inverted_cdf").tolist()
        return RoundTrips(len(seconds), least, median, p99)
