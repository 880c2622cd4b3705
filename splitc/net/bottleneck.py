# SPDX-License-Identifier: Apache-2.0
"""A link that takes only so many bits a second, and what waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from splitc.link.link_trace import LinkTrace


class Rate(Protocol):
    """How fast a link takes bits, now or at another time."""

    def bits(self, since_s: float, until_s: float) -> float:
        """Bits that pass between two times."""
        ...

    def passed(self, since_s: float, bits: float) -> float:
        """When so many bits have passed, of which the first go at `since_s`."""
        ...


@dataclass(frozen=True)
class Steady:
    """A rate that stays as it is: see `Rate`.

    Args:
        bandwidth_bps: Bits a second.
    """

    bandwidth_bps: float

    def bits(self, since_s: float, until_s: float) -> float:
        """See `Rate`."""
        return (until_s - since_s) * self.bandwidth_bps

    def passed(self, since_s: float, bits: float) -> float:
        """See `Rate`."""
        return since_s + bits / self.bandwidth_bps


class Bottleneck:
    """A link that sends one packet after another, and what waits for it.

    Args:
        rate: How fast, as a bandwidth in bits a second or by the time since it began; None is
            without limit.
        queue_bytes: What waits at most, the packet that is being sent included.
    """

    def __init__(self, rate: float | LinkTrace | None, queue_bytes: int) -> None:
        self._rate: Rate | None = rate if isinstance(rate, LinkTrace | None) else Steady(rate)
        self._changes = isinstance(rate, LinkTrace)
        self._queue_bytes = queue_bytes
        self._free_s = float("-inf")
        self._began_s: float | None = None
        self.busy_s = 0.0
        """Seconds that it was sending."""

    def begin(self, now: float) -> None:
        """Say when a rate that changes begins, if not with the first packet; once."""
        if self._began_s is None:
            self._began_s = now if self._changes else 0.0

    def since(self, now: float) -> float:
        """Seconds since a rate that changes began."""
        self.begin(now)
        return now - (self._began_s or 0.0)

    def leaves(self, now: float, nbytes: int) -> float | None:
        """When a packet that comes now is through; None where the queue has no room for it.

        Args:
            now: Seconds, never less than before.
            nbytes: Of the packet on the link.
        """
        rate = self._rate
        if rate is None:
            return now
        here_s = self.since(now)
        began_s = now - here_s if self._changes else 0.0
        free_s = max(self._free_s, here_s)
        if free_s > here_s and rate.bits(here_s, free_s) / 8 + nbytes > self._queue_bytes:
            return None
        self._free_s = rate.passed(free_s, nbytes * 8)
        self.busy_s += self._free_s - free_s
        return began_s + self._free_s
