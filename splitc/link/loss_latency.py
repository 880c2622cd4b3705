# SPDX-License-Identifier: Apache-2.0
"""What packet loss costs: packets that are missing, or time to send them again.

One boundary, sent as packets over a link that loses each with rate p. Without
retransmission (SI-NR) the time is fixed and what arrives is Binomial(n_t, 1 - p); with
it everything arrives and the time is that of a negative binomial number of packets.

References:
    Itahara, Nishio, Yamamoto, "Packet-Loss-Tolerant Split Inference", GLOBECOM 2021,
    arXiv:2104.13629, section III.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from splitc.errors import UsageError
from splitc.link.link import HEADER_BYTES, Link
from splitc.link.packets import packet_count

_SPREAD, _REACH = 40, 64
"""Standard deviations from the mean, and packets more, beyond which there is less than
1e-15 of a negative binomial: its tail is at worst geometric, e^-39 after 39 deviations."""


@dataclass(frozen=True)
class Counts:
    """A distribution over numbers of packets.

    Args:
        first: The smallest number there is a chance of.
        pmf: Chance of `first`, `first` + 1, … packets; they sum to 1.
    """

    first: int
    pmf: NDArray[np.float64]

    @cached_property
    def values(self) -> NDArray[np.int64]:
        """The numbers that `pmf` and `cdf` are of."""
        return self.first + np.arange(len(self.pmf))

    @cached_property
    def cdf(self) -> NDArray[np.float64]:
        """Chance of at most that many packets, for each of `values`."""
        return np.minimum(np.cumsum(self.pmf), 1.0)

    @property
    def mean(self) -> float:
        """Expected number of packets."""
        return self.first + float(np.dot(self.pmf, self.values - self.first))

    @property
    def sd(self) -> float:
        """Standard deviation in packets."""
        return math.sqrt(float(np.dot(self.pmf, (self.values - self.mean) ** 2)))

    def at_most(self, count: float) -> float:
        """Chance of at most that many packets."""
        place = math.floor(count) - self.first
        return 0.0 if place < 0 else float(self.cdf[min(place, len(self.pmf) - 1)])

    def quantile(self, share: float) -> int:
        """The smallest number of packets that a share of all transfers does not exceed.

        Raises:
            UsageError: The share is not in (0, 1).
        """
        if not 0 < share < 1:
            raise UsageError(f"quantile {share:g} is not in (0, 1)")
        place = int(np.searchsorted(self.cdf, share))
        return self.first + min(place, len(self.pmf) - 1)


@dataclass(frozen=True)
class Transfer:
    """A boundary that crosses a link in packets.

    Args:
        packets: n_t, packets that the boundary fills.
        packet_s: T = l / b, seconds that one packet takes.
        loss_rate: p, share of packets lost, independently, in [0, 1).
        delay_s: Seconds on the way whatever is sent: half the round trip.

    Raises:
        UsageError: A value is out of its range.
    """

    packets: int
    packet_s: float
    loss_rate: float = 0.0
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        if self.packets < 1:
            raise UsageError(f"packets {self.packets} is not above 0")
        _within_one("loss_rate", self.loss_rate)
        for name, value in (("packet_s", self.packet_s), ("delay_s", self.delay_s)):
            if not 0 <= value < math.inf:
                raise UsageError(f"{name} {value:g} is not a finite number from 0")

    @staticmethod
    def over(link: Link, nbytes: int, header_bytes: int = HEADER_BYTES) -> Transfer:
        """How so many bytes cross a link: ceil(D / payload) packets of its MTU.

        Args:
            link: The link.
            nbytes: D, bytes of the boundary.
            header_bytes: Bytes of each packet that carry none of them.

        Raises:
            UsageError: The headers leave no payload.
        """
        payload_bytes = link.mtu_bytes - header_bytes
        if header_bytes < 0 or payload_bytes < 1:
            why = f"a packet has {link.mtu_bytes} bytes"
            raise UsageError(f"header_bytes {header_bytes} leaves no payload", why=why)
        packet_s = link.mtu_bytes * 8 / link.bandwidth_bps
        packets = packet_count(nbytes, payload_bytes)
        return Transfer(packets, packet_s, link.loss_rate, link.rtt_s / 2)

    @property
    def unrepeated_s(self) -> float:
        """Seconds without retransmission, n_t T + the delay: always the same."""
        return self.seconds(self.packets)

    def seconds(self, packets: float) -> float:
        """Seconds that so many packets take, one after another."""
        return packets * self.packet_s + self.delay_s

    @property
    def sent_once(self) -> Counts:
        """Packets sent without retransmission: n_t, without variance."""
        return _certain(self.packets)

    @property
    def received(self) -> Counts:
        """Packets that arrive without retransmission: Binomial(n_t, 1 - p)."""
        n, p = self.packets, self.loss_rate
        if p == 0:
            return _certain(n)
        k = np.arange(n, dtype=np.float64)
        # P(k + 1) / P(k)
        ratios = (n - k) / (k + 1) * ((1 - p) / p)
        return Counts(0, _from_ratios(ratios, min(n, math.floor((n + 1) * (1 - p)))))

    @property
    def sent(self) -> Counts:
        """Packets sent until all arrived: P(n) = C(n-1, n_t-1) p^(n-n_t) (1-p)^n_t."""
        n_t, p = self.packets, self.loss_rate
        if p == 0:
            return _certain(n_t)
        mean, sd = n_t / (1 - p), math.sqrt(n_t * p) / (1 - p)
        first = max(n_t, math.floor(mean - _SPREAD * sd) - _REACH)
        last = math.ceil(mean + _SPREAD * sd) + _REACH
        n = np.arange(first, last, dtype=np.float64)
        # P(n + 1) / P(n); the mode is the first n that it falls from.
        ratios = n / (n - n_t + 1) * p
        mode = max(n_t, math.ceil((n_t - 1) / (1 - p)))
        return Counts(first, _from_ratios(ratios, mode - first))

    @property
    def repeated_mean_s(self) -> float:
        """Expected seconds with retransmission, n_t T / (1 - p) + the delay."""
        return self.seconds(self.packets / (1 - self.loss_rate))

    @property
    def repeated_sd_s(self) -> float:
        """Standard deviation of the seconds with retransmission."""
        return math.sqrt(self.packets * self.loss_rate) / (1 - self.loss_rate) * self.packet_s

    def repeated_quantile_s(self, share: float) -> float:
        """Seconds within which a share of all transfers with retransmission is done.

        Raises:
            UsageError: The share is not in (0, 1).
        """
        return self.seconds(self.sent.quantile(share))


@dataclass(frozen=True)
class GilbertElliott:
    """Burst loss: a Markov chain of a state that receives and one that loses.

    Args:
        loss_rate: p, share of packets lost, in [0, 1).
        mean_burst: L, mean length of a burst in packets, from 1 and from p / (1 - p).
            1 / (1 - p) is independent loss.

    Raises:
        UsageError: A value is out of its range.
    """

    loss_rate: float
    mean_burst: float

    def __post_init__(self) -> None:
        _within_one("loss_rate", self.loss_rate)
        if not 1 <= self.mean_burst < math.inf:
            raise UsageError(f"mean_burst {self.mean_burst:g} is not a finite number from 1")
        # A little less passes: 0.9 / (1 - 0.9) is above 9 in floating point.
        shortest = self.loss_rate / (1 - self.loss_rate)
        if self.mean_burst * (1 + 1e-6) < shortest:
            raise UsageError(
                f"mean_burst {self.mean_burst:g} is too short for the rate {self.loss_rate:g}",
                why="bursts would follow each other without a packet received between them",
                hint=f"take at least {shortest:g}",
            )

    @property
    def ends(self) -> float:
        """p_bg = 1 / L: chance that a packet after a lost one arrives."""
        return 1 / self.mean_burst

    @property
    def begins(self) -> float:
        """p_gb = p_bg p / (1 - p): chance that a packet after a received one is lost."""
        return min(1.0, self.ends * self.loss_rate / (1 - self.loss_rate))

    def received_sd(self, packets: int) -> float:
        """Standard deviation of how many of so many packets arrive.

        Neighbours are correlated by r = 1 - p_bg - p_gb, packets d apart by r^d.
        """
        p, r = self.loss_rate, 1 - self.ends - self.begins
        apart = np.arange(1, packets)
        pairs = float(np.dot(packets - apart, r**apart))
        return math.sqrt(max(0.0, p * (1 - p) * (packets + 2 * pairs)))


def _within_one(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise UsageError(f"{name} {value:g} is not in [0, 1)")


def _certain(count: int) -> Counts:
    return Counts(count, np.ones(1))


def _from_ratios(ratios: NDArray[np.float64], mode: int) -> NDArray[np.float64]:
    """Chances from the ratios of neighbours, from the mode outward: nothing overflows, and
    what underflows is nothing."""
    logs = np.log(ratios)
    below, above = -np.cumsum(logs[:mode][::-1])[::-1], np.cumsum(logs[mode:])
    weights = np.exp(np.concatenate([below, [0.0], above]))
    return weights / weights.sum()
