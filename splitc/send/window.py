# SPDX-License-Identifier: Apache-2.0
"""The frames that are under way, and what is due of each: to ask, to send again, to give up.

No socket and no clock: times are seconds that the caller says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splitc.arrays import Array
from splitc.policy.gauge import Report
from splitc.send.delay import Delay
from splitc.wire.datagrams import Datagrams

_LEAST_WAIT_S, _MOST_WAIT_S, _SLOWER = 0.005, 0.05, 1.25
"""Between two questions for one answer at least and at most, and how much more between each two
which follow: questions are short, and where half of all packets are lost three of four are in
vain."""

_MOST_AGAIN = 8
"""How often all of a frame may be sent again in packets: a server that asks for more is none."""

_TRICKLE, _MUCH = 2, 4
"""Chunks that come at most from one question to the next, and are asked for at least, where a
link is slower than the server waits for."""


@dataclass
class Flight:
    """One frame on its way.

    Args:
        ticket: The device's number of it, over all sessions.
        route: Its route.
        arrays: What crosses: kept, as another session cuts and seals it anew.
        began_s: When it was handed over.
        frame: Its number in the session.
        data: Its chunks as they were sent, and only they may go again.
        left_s: When its last packet left; None while some wait.
        sent_s: When some of it last left, for the first time or again.
        ask_s: When to ask what became of it.
        asked: How often that was done.
        heard: The number of the server's last question, so that none counts twice.
        again: Packets that were sent again.
        turns: When each chunk last left, as its place among all that did [chunks].
        lacked: How many chunks the server lacked when it last asked.
        trickles: Whether packets are further apart than the server waits: it asked for much when
            next to nothing had come since it last did.
        report: What the server said of it.
    """

    ticket: int
    route: int
    arrays: Sequence[Array]
    began_s: float
    frame: int = -1
    data: Datagrams | None = None
    left_s: float | None = None
    sent_s: float = 0.0
    ask_s: float = float("inf")
    asked: int = 0
    heard: int = -1
    again: int = 0
    turns: NDArray[np.intp] | None = None
    lacked: int = -1
    trickles: bool = False
    report: Report | None = None

    def lost(self, missing: NDArray[np.intp], chunks: int) -> NDArray[np.intp]:
        """Which of the chunks that a server lacks are not merely under way.

        On a link where packets are further apart than the server waits, it asks for all that
        stands in the link's queue, packet for packet. There, what left before one that came is
        lost, as packets come nearly in the order in which they leave; what left behind all of
        those is under way as long as more comes from one question to the next.

        Args:
            missing: Numbers of the chunks that the server lacks [n].
            chunks: How many there are.
        """
        if self.turns is None:
            self.turns = np.arange(chunks)
        came = np.ones(chunks, np.bool_)
        came[missing] = False
        came_since = (chunks if self.lacked < 0 else self.lacked) - len(missing)
        self.lacked = len(missing)
        self.trickles |= 0 < came_since <= _TRICKLE and len(missing) > _MUCH
        rows = missing
        if self.trickles and came.any() and came_since:
            rows = missing[self.turns[missing] < self.turns[came].max()]
        self.turns[rows] = self.turns.max() + 1 + np.arange(len(rows))
        return rows


class Window:
    """Flights of one session by their numbers in it.

    Args:
        deadline_s: How long after its first packet a frame may be sent again.
        limit_s: How long after it began a frame is given up.
        delays: Makes what learns how long answers on a route take.
        rtt_s: How long packets take there and back: so long a question that was in vain is waited
            for.
        asks: Whether answers are asked for: over a connection they come.
        trickles: Whether packets leave further apart than the server waits for the next.
    """

    def __init__(
        self,
        deadline_s: float,
        limit_s: float,
        delays: Callable[[], Delay],
        rtt_s: float,
        *,
        asks: bool = True,
        trickles: bool = False,
    ) -> None:
        self._deadline_s = deadline_s
        self._trickles = trickles
        self._asks = asks
        self._limit_s = limit_s
        # An answer takes longer behind a whole frame than behind what was missing of it.
        self._delays = defaultdict[tuple[int, bool], Delay](delays)
        # At a frame's deadline its answer leaves, whatever was measured of others.
        self._latest_s = deadline_s + rtt_s + _LEAST_WAIT_S
        self._wait_s = min(max(2 * rtt_s, _LEAST_WAIT_S), _MOST_WAIT_S)
        self._flights: dict[int, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def begin(self, flight: Flight) -> None:
        """A frame whose packets are cut, and are about to leave."""
        flight.trickles = self._trickles
        self._flights[flight.frame] = flight

    def get(self, frame: int) -> Flight | None:
        """The flight of that number; None where it is done or never was."""
        return self._flights.get(frame)

    def left(self, flight: Flight, now: float) -> None:
        """The last packet of a frame left."""
        flight.left_s = flight.sent_s = now
        if self._asks:
            flight.ask_s = now + self._expected_s(flight)

    def _expected_s(self, flight: Flight) -> float:
        """How long an answer may take from now on before it is asked for."""
        return min(self._delay(flight).limit_s, self._latest_s)

    def _delay(self, flight: Flight) -> Delay:
        return self._delays[flight.route, flight.again > 0]

    def heard(self, frame: int, now: float) -> None:
        """A part of a frame's answer came: what is missing of it is asked for elsewhere."""
        flight = self._flights.get(frame)
        if flight is not None and flight.ask_s != float("inf"):
            flight.ask_s = float("inf")
            # What was asked for here may answer either question. What the server asked for it
            # lacked: its answer is to that.
            if flight.left_s is not None and not flight.asked:
                self._delay(flight).add(now - flight.sent_s)

    def end(self, frame: int) -> Flight | None:
        """A frame that is answered, or failed."""
        return self._flights.pop(frame, None)

    def again(self, frame: int, counter: int, missing: NDArray[np.intp], now: float) -> Datagrams:
        """The packets of a frame that the server asked for, where they may still go.

        Args:
            frame: Its number.
            counter: The question's, which rises.
            missing: Numbers of the chunks that it lacks [n].
            now: Seconds.
        """
        flight = self._flights.get(frame)
        none = Datagrams.packets([])
        if flight is None or flight.data is None or flight.left_s is None:
            return none
        if counter <= flight.heard or now >= flight.began_s + self._deadline_s:
            return none
        flight.heard = counter
        rows = flight.lost(missing[missing < len(flight.data)], len(flight.data))
        rows = rows[: _MOST_AGAIN * len(flight.data) - flight.again]
        if len(rows):
            flight.sent_s = now
        flight.again += len(rows)
        flight.ask_s = now + self._expected_s(flight)
        return flight.data.take(rows)

    def last_again(self, flight: Flight, now: float) -> Datagrams:
        """A frame's last packet once more, so that a server that lacks it knows of it."""
        assert flight.data is not None
        if now >= flight.began_s + self._deadline_s:
            return Datagrams.packets([])
        flight.again += 1
        return flight.data.take(slice(len(flight.data) - 1, None))

    def overdue(self, now: float) -> list[Flight]:
        """Frames of whose answer nothing came in time: each is asked for more and more seldom."""
        late = [flight for flight in self._flights.values() if now >= flight.ask_s]
        for flight in late:
            if not flight.asked:
                self._delay(flight).too_early()
            flight.ask_s = now + min(self._wait_s * _SLOWER ** min(flight.asked, 32), _MOST_WAIT_S)
            flight.asked += 1
        return late

    def given_up(self, now: float) -> list[Flight]:
        """Frames that waited too long; they are under way no more."""
        late = [f for f in self._flights.values() if now >= f.began_s + self._limit_s]
        for flight in late:
            del self._flights[flight.frame]
        return late

    def empty(self) -> list[Flight]:
        """All of them, under way no more: their session is none."""
        flights = list(self._flights.values())
        self._flights.clear()
        return flights

    def next_s(self) -> float | None:
        """When something is due; None where nothing is."""
        dues = (min(f.ask_s, f.began_s + self._limit_s) for f in self._flights.values())
        return min(dues, default=None)
