# SPDX-License-Identifier: Apache-2.0
"""Sending no faster than a link takes packets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from splitc.wire.header import IP_UDP_BYTES

_BURST_S = 2e-3
"""What may leave at once: as much as timers are late, so that the rate is kept all the same."""


class Bucket:
    """A token bucket: bytes may leave at the link's rate, a few packets of them at once.

    UDP tells nobody that a queue is full. What leaves faster than a slow link carries waits
    in its queue and is thrown away there, in bursts.

    Args:
        bits_per_s: Of the link; None for no limit.
        packet_bytes: Of the largest packet: two always fit.
    """

    def __init__(self, bits_per_s: float | None, packet_bytes: int) -> None:
        self._bytes_per_s = None if bits_per_s is None else bits_per_s / 8
        self._most = 2.0 * (packet_bytes + IP_UDP_BYTES)
        if self._bytes_per_s is not None:
            self._most = max(self._most, self._bytes_per_s * _BURST_S)
        self._there = self._most
        self._then: float | None = None

    def take(self, sizes: NDArray[np.int64], now: float) -> int:
        """How many of these packets may leave now, the first ones; they are counted as gone.

        Args:
            sizes: Bytes of each packet without the headers of IP and UDP [n].
            now: Seconds.
        """
        if self._bytes_per_s is None:
            return len(sizes)
        self._fill(now, self._bytes_per_s)
        spent = np.cumsum(sizes + IP_UDP_BYTES)
        # What is missing by rounding alone would be waited for in vain: the clock has its grain.
        count = int(np.searchsorted(spent, self._there + 1e-3, side="right"))
        if count:
            self._there -= float(spent[count - 1])
        return count

    def next_s(self, size: int, now: float) -> float:
        """When a packet of that size may leave."""
        if self._bytes_per_s is None:
            return now
        self._fill(now, self._bytes_per_s)
        missing = size + IP_UDP_BYTES - self._there
        return now + max(missing, 0.0) / self._bytes_per_s

    def _fill(self, now: float, bytes_per_s: float) -> None:
        if self._then is not None and now > self._then:
            self._there = min(self._most, self._there + (now - self._then) * bytes_per_s)
        self._then = now if self._then is None else max(now, self._then)
