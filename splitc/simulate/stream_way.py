# SPDX-License-Identifier: Apache-2.0
"""One direction of a simulated connection: everything comes, in order, sooner or later."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from splitc.net.impairment import Direction
from splitc.simulate.clock import Alarm, Clock
from splitc.simulate.ways import Arrival
from splitc.wire.datagrams import Datagrams

_HEADERS = 24
"""Of a segment beyond what a datagram has, which the direction counts itself: TCP's with time
stamps, less UDP's."""
_LENGTH = 4
"""What stands before each packet in a stream."""
_LEAST_S = 1e-3
_SEGMENT_BYTES = 1448

MODEL = (
    "tcp is modelled: in order, a lost segment again after a round trip, a window that fills "
    "the queue, no slow start and no backing off: real TCP is no quicker on a lossy link"
)


class StreamWay:
    """A stream as a model has it that is kind to TCP; see `MODEL`.

    Args:
        clock: The time.
        direction: What becomes of segments.
        wake: What to do when packets have come.
        rtt_s: How long the sender takes to learn of a loss.
        window_bytes: What may be under way at most.
    """

    def __init__(
        self,
        clock: Clock,
        direction: Direction,
        wake: Callable[[], None],
        rtt_s: float,
        window_bytes: int,
    ) -> None:
        self._clock, self._direction = clock, direction
        self._alarm = Alarm(clock, wake)
        self._again_s = max(rtt_s, _LEAST_S)
        self._window = max(window_bytes // 2 // _SEGMENT_BYTES, 10)
        self._waiting: deque[int] = deque()
        self._sizes: dict[int, int] = {}
        self._packets: deque[tuple[int, Datagrams, int]] = deque()
        self._next = self._under_way = 0
        self._came: set[int] = set()
        self._whole = 0

    def send(self, datagrams: Datagrams) -> None:
        """See `Way`. Packets that are written at once share segments."""
        nbytes = int(datagrams.lengths.sum()) + _LENGTH * len(datagrams)
        segments = max(math.ceil(nbytes / _SEGMENT_BYTES), 1)
        for number in range(self._next, self._next + segments):
            size = min(nbytes - (number - self._next) * _SEGMENT_BYTES, _SEGMENT_BYTES)
            self._sizes[number] = size
            self._waiting.append(number)
        end = 0
        for row, length in enumerate(datagrams.lengths.tolist()):
            end += length + _LENGTH
            last = self._next + math.ceil(end / _SEGMENT_BYTES)
            self._packets.append((last, datagrams, row))
        self._next += segments
        self._fill()

    def _fill(self) -> None:
        while self._waiting and self._under_way < self._window:
            self._under_way += 1
            self._segment(self._waiting.popleft())

    def _segment(self, number: int) -> None:
        now = self._clock.now
        carried = self._direction.carry(self._sizes[number] + _HEADERS, now)
        if carried is None:
            self._clock.at(now + self._again_s, lambda: self._segment(number))
        else:
            self._clock.at(carried.at_s, lambda: self._take(number))

    def _take(self, number: int) -> None:
        """A segment came: what it completes is there, and its sender may send another."""
        del self._sizes[number]
        self._came.add(number)
        while self._whole in self._came:
            self._came.remove(self._whole)
            self._whole += 1
        self._clock.at(self._clock.now + self._again_s / 2, self._acknowledged)
        if self._packets and self._packets[0][0] <= self._whole:
            self._alarm.set(self._clock.now)

    def _acknowledged(self) -> None:
        self._under_way -= 1
        self._fill()

    def arrived(self) -> list[Arrival]:
        """See `Way`."""
        found: list[Arrival] = []
        packets = self._packets
        while packets and packets[0][0] <= self._whole:
            _, block, row = packets.popleft()
            rows = [row]
            while packets and packets[0][0] <= self._whole and packets[0][1] is block:
                rows.append(packets.popleft()[2])
            found.append((self._clock.now, block.take(rows)))
        return found
