# SPDX-License-Identifier: Apache-2.0
"""All that a device says to a server and hears of it, over as many sessions as it takes.

No socket, no clock, no thread: who has them says what came and what time it is, and sends what
`leave` gives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from splitc.arrays import Array
from splitc.errors import SplitcError
from splitc.send.greeting import Greeting
from splitc.send.outbox import Outbox
from splitc.send.pacing import Bucket
from splitc.send.settings import Settings
from splitc.send.steering import Steering
from splitc.send.talk import Outcome, Talk, given_up
from splitc.send.tally import Counters
from splitc.send.window import Flight
from splitc.wire.datagrams import Datagrams
from splitc.wire.keys import NONCE_BYTES

_PATIENCE = 10
"""HELLOs without an answer after which a connection is taken for dead."""


class Session:
    """A device's conversation with a server.

    Frames that are handed over while there is no session wait for one. When a session ends,
    because the server does not know it any more or is silent, another one is asked for, and
    the frames that are not given up yet are sent again in it.

    Args:
        steering: The routes, and what picks among them.
        split: What stands for the split in packets.
        settings: How to send.
        key: The key that both share; None without one.
        entropy: Gives so many random bytes.
        now: Seconds.
    """

    def __init__(
        self,
        steering: Steering,
        split: int,
        settings: Settings,
        key: bytes | None,
        entropy: Callable[[int], bytes],
        now: float,
    ) -> None:
        self.steering = steering
        self._split, self._settings = split, settings
        self._key, self._entropy = key, entropy
        self._outbox = Outbox(Bucket(settings.bandwidth_bps, settings.mtu))
        self._held: deque[Flight] = deque()
        self._outcomes: list[Outcome] = []
        self._talk: Talk | None = None
        self._greeting = self._greet(now)
        self.counters = Counters()
        self.wants_new_line = False
        """Whether a connection is of no use any more: its session ended, or nobody answers."""
        self.silent = False
        """Whether the server said nothing while a frame waited as long as one may."""
        self.refused: SplitcError | None = None
        """Why the server wants no session with this device, as far as it has said so."""
        self.final = False
        """Whether asking again is of no use until somebody changes something."""

    @property
    def open(self) -> bool:
        """Whether there is a session."""
        return self._talk is not None

    def submit(self, ticket: int, route: int, arrays: Sequence[Array], now: float) -> None:
        """Send a frame as soon as may be.

        Args:
            ticket: What its outcome will be called.
            route: Its route: one that there is.
            arrays: What crosses, in order; they stay as they are until then.
            now: Seconds.

        Raises:
            UsageError: A tensor does not fit.
        """
        self._held.append(Flight(ticket, route, arrays, now))
        self._begin(now)

    def take(self, datagrams: Datagrams, now: float) -> None:
        """Packets that came."""
        self.counters.packets_received += len(datagrams)
        self.counters.bytes_received += int(datagrams.lengths.sum())
        if self._talk is None:
            datagrams = self._answer_to_greeting(datagrams, now)
        talk = self._talk
        if talk is None or not len(datagrams):
            return
        self._outcomes += talk.take(datagrams, now)
        if talk.over:
            self._start_over(now)
        self._begin(now)

    def _answer_to_greeting(self, datagrams: Datagrams, now: float) -> Datagrams:
        """Look for a WELCOME; gives the packets behind it."""
        for row in range(len(datagrams)):
            welcome = self._greeting.take(bytes(datagrams.packet(row)), now)
            self.refused, self.final = self._greeting.refused, self._greeting.final
            if welcome is not None:
                self._talk = Talk(
                    self.steering, self._split, self._settings, welcome, self._key,
                    self._greeting.rtt_s, self._outbox, self.counters,
                )  # fmt: skip
                self.counters.sessions += 1
                self.silent, self.refused, self.final = False, None, False
                self._begin(now)
                return datagrams.take(slice(row + 1, None))
        return Datagrams.packets([])

    def lost(self, now: float) -> None:
        """The connection that carried it broke."""
        self._start_over(now)

    def step(self, now: float) -> list[Outcome]:
        """Do what is due.

        Returns:
            What became of frames since the last time.
        """
        limit_s = self._settings.silent_after_s
        while self._held and now >= self._held[0].began_s + limit_s:
            self._outcomes.append(given_up(self._held.popleft(), limit_s, now, self.refused))
            self.silent = self.silent or self._talk is None
        if self._talk is not None:
            self._outcomes += self._talk.due(now)
            if self._talk.silent:
                self.silent = True
                self._start_over(now)
        if self._talk is None:
            hello = self._greeting.due(now)
            self._outbox.message(hello)
            if len(hello) and self._greeting.said % _PATIENCE == 0:
                self.wants_new_line = True
        self._begin(now)
        outcomes, self._outcomes = self._outcomes, []
        for outcome in outcomes:
            self.counters.answered += outcome.arrays is not None
            self.counters.silent += outcome.silent
            self.counters.failed += outcome.error is not None and not outcome.silent
        return outcomes

    def leave(self, now: float) -> list[Datagrams]:
        """The packets that leave now."""
        out = self._outbox.leave(now)
        for datagrams in out:
            self.counters.packets_sent += len(datagrams)
            self.counters.bytes_sent += int(datagrams.lengths.sum())
        return out

    def next_s(self, now: float) -> float | None:
        """When to call `step` and `leave` again if nothing comes; None for never."""
        dues = [self._outbox.next_s(now), self._greeting.next_s]
        if self._talk is not None:
            dues[1] = self._talk.next_s()
        if self._held:
            dues.append(self._held[0].began_s + self._settings.silent_after_s)
        return min((due for due in dues if due is not None), default=None)

    def close(self, now: float) -> list[Datagrams]:
        """The goodbye to send, if there is somebody to say it to."""
        self._outbox.clear()
        if self._talk is not None:
            self._talk.bye()
        return self.leave(now)

    def _begin(self, now: float) -> None:
        while self._talk is not None and self._held and self._talk.room:
            self._talk.begin(self._held.popleft(), now)

    def _start_over(self, now: float) -> None:
        """Ask for another session; what was under way waits for it."""
        if self._talk is None:
            return  # The next HELLO comes when it is due.
        self.wants_new_line = True
        self._held.extendleft(reversed(self._talk.empty()))
        self._talk = None
        self._outbox.clear()
        self._greeting = self._greet(now)

    def _greet(self, now: float) -> Greeting:
        return Greeting(
            self._split, self._settings, self._key, self._entropy(NONCE_BYTES), now,
            wants_reports=self.steering.chooses,
        )  # fmt: skip
