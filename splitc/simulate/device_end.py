# SPDX-License-Identifier: Apache-2.0
"""The device of a simulation: frames that come, heads that take simulated time, a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from splitc.arrays import Array, Arrays
from splitc.errors import DeviceError, SplitcError
from splitc.runtime.manifest import Remote
from splitc.send.session import Session
from splitc.send.talk import Outcome
from splitc.simulate.clock import Alarm, Clock
from splitc.simulate.parts import Parts
from splitc.simulate.record import Record
from splitc.simulate.ways import Way

_CONNECT_S = 60.0
"""How long the first session may be asked for: on any link that is one, it comes by then."""


@dataclass
class _Begun:
    """A frame whose head runs, or has run."""

    number: int
    came_s: float
    remote: Remote
    head_s: float
    known: dict[str, Array]


class DeviceEnd:
    """Runs heads one after another, sends what crosses and takes answers, as `Device.stream`.

    Args:
        clock: The time.
        parts: What runs.
        session: What is said and heard.
        head_s: How long a frame's head takes on a route, each time anew.
        frames: How many frames there are.
        rate: Frames a second; 0 for the next as soon as there is room for it.
        in_flight: Frames under way at once.
        inputs: A frame's inputs; None without values.
        right: Whether a frame's results are right; None where that is not known.
    """

    def __init__(
        self,
        clock: Clock,
        parts: Parts,
        session: Session,
        head_s: Callable[[int], float],
        frames: int,
        rate: float,
        in_flight: int,
        inputs: Callable[[int], Arrays | None],
        right: Callable[[int, Arrays], bool | None],
    ) -> None:
        self._clock, self._parts, self.session = clock, parts, session
        self._head_s, self._frames, self._rate = head_s, frames, rate
        self._in_flight, self._inputs, self._right = in_flight, inputs, right
        self._alarm, self._comes = Alarm(clock, self.wake), Alarm(clock, self.wake)
        self._up: Way
        self._down: Way
        self._began_s: float | None = None
        self._next = self._ended = 0
        self._computes = False
        self._begun: dict[int, _Begun] = {}
        self._records: dict[int, Record] = {}

    def between(self, up: Way, down: Way) -> None:
        """Say what packets leave by, and what they come by."""
        self._up, self._down = up, down

    @property
    def done(self) -> int:
        """How many frames it is known of what became of them."""
        return len(self._records)

    @property
    def over(self) -> bool:
        """Whether it is known what became of every frame."""
        return len(self._records) == self._frames

    @property
    def records(self) -> tuple[Record, ...]:
        """What became of each frame."""
        return tuple(self._records[number] for number in range(self._frames))

    def wake(self) -> None:
        """Take what has come, do what is due, send what leaves, begin the next frame."""
        session, now = self.session, self._clock.now
        for when_s, packets in self._down.arrived():
            session.take(packets, when_s)
        for outcome in session.step(now):
            self._end(outcome)
        for datagrams in session.leave(now):
            self._up.send(datagrams)
        self._begin()
        self._alarm.set(None if self.over else session.next_s(now))

    def _begin(self) -> None:
        """Begin the next frame's head, if there is one, and room for it."""
        now = self._clock.now
        if self._began_s is None:
            if not self._connected():
                return
            self._began_s = now
        room = self._next - self._ended < self._in_flight
        if self._computes or not room or self._next == self._frames:
            return
        came_s = now
        if self._rate:
            came_s = self._began_s + self._next / self._rate
            if came_s > now:
                self._comes.set(came_s)
                return
        self._computes = True
        number, self._next = self._next, self._next + 1
        remote = self.session.steering.choose(now)
        known = self._parts.head(remote, self._inputs(number))
        begun = _Begun(number, came_s, remote, self._head_s(remote.route), known)
        self._begun[number] = begun
        self._clock.at(now + begun.head_s, lambda: self._submit(begun))

    def _connected(self) -> bool:
        session = self.session
        if session.open:
            return True
        if session.final or self._clock.now > _CONNECT_S:
            raise session.refused or DeviceError(
                "the simulated device came to no session", hint="does the link lose everything?"
            )
        return False

    def _submit(self, begun: _Begun) -> None:
        """A head is done."""
        self._computes = False
        remote, session = begun.remote, self.session
        session.steering.head_took(remote.route, begun.head_s)
        crossing = [begun.known[spec.name] for spec in remote.crosses]
        session.submit(begun.number, remote.route, crossing, self._clock.now)
        self.wake()

    def _end(self, outcome: Outcome) -> None:
        """It is known what became of a frame."""
        begun = self._begun.pop(outcome.ticket)
        answered = outcome.arrays is not None
        error: SplitcError | None = outcome.error
        if error is not None and not outcome.silent:
            raise error
        right = None
        if outcome.arrays is not None:
            names = (spec.name for spec in begun.remote.results)
            known = begun.known | dict(zip(names, outcome.arrays, strict=True))
            right = self._right(begun.number, {name: known[name] for name in begun.remote.outputs})
        left_s = outcome.left_s
        self._records[begun.number] = Record(
            number=begun.number,
            began_s=begun.came_s,
            route=begun.remote.name,
            head_s=begun.head_s,
            latency_s=outcome.done_s - begun.came_s if answered else None,
            link_tail_s=outcome.done_s - left_s if answered and left_s is not None else None,
            share=outcome.share,
            correct=right,
        )
        # Answers are handed on in order, and each makes room only then.
        while self._ended in self._records:
            self._ended += 1
