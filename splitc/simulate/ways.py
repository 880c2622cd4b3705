# SPDX-License-Identifier: Apache-2.0
"""One direction of a simulated link: packets go in, and come out when the link lets them."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Protocol

from splitc.net.impairment import Direction, flipped
from splitc.simulate.clock import Alarm, Clock
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import HEADER_BYTES, Kind

_TOGETHER = 16
"""Packets of one frame that are handed over at once, at most."""
_IN_ROWS = (Kind.DATA, Kind.ANSWER)

Arrival = tuple[float, Datagrams]
"""When the last of some packets came, and they."""


class Way(Protocol):
    """One direction."""

    def send(self, datagrams: Datagrams) -> None:
        """Packets that leave now; they are copied, or stay as they are."""
        ...

    def arrived(self) -> list[Arrival]:
        """What has come until now and was not taken before, in order."""
        ...


class PacketWay:
    """Datagrams, of which each comes or does not.

    Packets of a frame between its first and its last do nothing but come: they are handed
    over with one behind them, and before anything else happens there that they could change.
    So it takes less time, and makes no difference.

    Args:
        clock: The time.
        direction: What becomes of packets.
        wake: What to do when packets have come.
    """

    def __init__(self, clock: Clock, direction: Direction, wake: Callable[[], None]) -> None:
        self._clock, self._direction = clock, direction
        self._alarm = Alarm(clock, wake)
        self._numbers = count()
        self._coming: list[tuple[float, int, Datagrams, int]] = []
        self._looks: list[float] = []

    def send(self, datagrams: Datagrams) -> None:
        """See `Way`."""
        now, carry = self._clock.now, self._direction.carry
        times: list[float] = []
        for row, length in enumerate(datagrams.lengths.tolist()):
            carried = carry(length, now)
            if carried is None:
                continue
            one, place = datagrams, row
            if carried.flip >= 0:
                one = Datagrams.packets([flipped(bytes(datagrams.packet(row)), carried.flip)])
                place = 0
            for _ in range(carried.copies):
                item = (carried.at_s, next(self._numbers), one, place)
                heapq.heappush(self._coming, item)
                times.append(carried.at_s)
        for when_s in times if _matters(datagrams) else _looked_at(times):
            heapq.heappush(self._looks, when_s)
        self._wait()

    def _wait(self) -> None:
        self._alarm.set(self._looks[0] if self._looks else None)

    def arrived(self) -> list[Arrival]:
        """See `Way`."""
        now = self._clock.now
        found: list[Arrival] = []
        coming = self._coming
        while coming and coming[0][0] <= now:
            when_s, _, block, row = heapq.heappop(coming)
            rows = [row]
            while coming and coming[0][0] <= now and coming[0][2] is block:
                when_s, _, _, row = heapq.heappop(coming)
                rows.append(row)
            found.append((when_s, block.take(rows)))
        while self._looks and self._looks[0] <= now:
            heapq.heappop(self._looks)
        self._wait()
        return found


def _matters(datagrams: Datagrams) -> bool:
    """Whether each of some packets may do something by itself: all but chunks of one frame."""
    if not len(datagrams) or datagrams.lengths.min() < HEADER_BYTES:
        return True
    kinds = datagrams.headers["kind"]
    return int(kinds[0]) not in _IN_ROWS or bool((kinds != kinds[0]).any())


def _looked_at(times: list[float]) -> list[float]:
    """The times of packets that are handed over when they come; the others wait for them."""
    times = sorted(times)
    return times[::_TOGETHER] + times[-1:]
