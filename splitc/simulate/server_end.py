# SPDX-License-Identifier: Apache-2.0
"""The server of a simulation: its service, and tails that take simulated time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from splitc.errors import SplitcError, one_line
from splitc.net.address import PEER_BYTES
from splitc.serve.door import Door
from splitc.serve.journal import silent
from splitc.serve.limits import Limits
from splitc.serve.measures import Measures
from splitc.serve.peer import Outgoing
from splitc.serve.refusals import Refusals
from splitc.serve.service import Service
from splitc.serve.tails import Hosted
from splitc.serve.work import Batch
from splitc.simulate.clock import Alarm, Clock
from splitc.simulate.ways import Way

_DEVICE = np.frombuffer(bytes([2, 0, 0x11, 0x01, 10, 0, 0, 2]).ljust(PEER_BYTES, b"\0"), np.uint8)
"""Where the device is: an IPv4 peer, as sockets write it."""
_LONGEST = 65_000


class ServerEnd:
    """Takes packets, runs tails one after another, and answers.

    Args:
        clock: The time.
        hosted: What it serves.
        split: What stands for it in packets.
        tail_s: How long a frame's tail takes on a route, each time anew.
        entropy: Gives so many random bytes.
        stream: Whether packets come over a connection.
    """

    def __init__(
        self,
        clock: Clock,
        hosted: Hosted,
        split: int,
        tail_s: Callable[[int], float],
        entropy: Callable[[int], bytes],
        *,
        stream: bool,
    ) -> None:
        limits, measures = Limits(frames_in_flight=64), Measures()
        refusals = Refusals(limits.refusals_per_s, measures, silent)
        door = Door(
            {split: hosted}, limits, refusals, key=None, payload_bytes=_LONGEST, entropy=entropy
        )
        self._service = Service(door, refusals, limits, measures, silent)
        self._clock, self._tail_s = clock, tail_s
        self._stream = "stream" if stream else None
        self._alarm = Alarm(clock, self.wake)
        self._busy = False
        self._addresses = np.tile(_DEVICE, (64, 1))
        self._up: Way
        self._down: Way

    def between(self, up: Way, down: Way) -> None:
        """Say what packets come by, and what they leave by."""
        self._up, self._down = up, down

    def wake(self) -> None:
        """Take what has come, do what is due, begin what waits."""
        self._hear()
        now = self._clock.now
        self._send(self._service.due(now))
        self._begin()
        self._alarm.set(self._service.next_due())

    def _hear(self) -> None:
        for when_s, packets in self._up.arrived():
            while len(self._addresses) < len(packets):
                self._addresses = np.concatenate([self._addresses, self._addresses])
            addresses = self._addresses[: len(packets)]
            self._send(self._service.receive(packets, addresses, when_s, self._stream))

    def _send(self, out: Sequence[Outgoing]) -> None:
        for packets, _ in out:
            self._down.send(packets)

    def _begin(self) -> None:
        """Begin the next tail, if none runs."""
        now, work = self._clock.now, self._service.work
        if self._busy:
            return
        batch = work.take(now, quick=True) or work.take(now, quick=False)
        if batch is None:
            return
        self._busy = True
        took_s = sum(self._tail_s(frame.received.route) for frame in batch.frames)
        self._clock.at(now + took_s, lambda: self._end(batch))

    def _end(self, batch: Batch) -> None:
        """Answer: the values are of no age, so they are made when they are sent."""
        self._hear()
        self._busy = False
        now, work = self._clock.now, self._service.work
        try:
            out = work.done(batch, batch.tail.run(batch.inputs), now)
        except SplitcError as error:
            out = work.failed(batch, one_line(error), now)
        self._send(out)
        self.wake()
