# SPDX-License-Identifier: Apache-2.0
"""Session and service, several routes between them, on a simulated link and clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from splitc.arrays import Array
from splitc.policy.base import Policy
from splitc.runtime.manifest import Expected, Remote, TensorSpec
from splitc.runtime.part import Contract
from splitc.send.session import Session
from splitc.send.settings import Settings
from splitc.send.steering import Steering
from splitc.send.talk import Outcome
from splitc.serve.door import Door
from splitc.serve.limits import Limits
from splitc.serve.measures import Measures
from splitc.serve.peer import Outgoing, Place
from splitc.serve.refusals import Refusals
from splitc.serve.service import Service
from splitc.serve.tails import Tail
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import IP_UDP_BYTES, Kind
from tests.serve.device import address

SPLIT = 0xBEEF
_PLACE = address(1)


def spec(name: str, count: int) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=(1, count), bytes=4 * count)


def remote(number: int, name: str, count: int, head_ms: float, tail_ms: float) -> Remote:
    """A route on which so many floats cross and two results come back."""
    return Remote(
        route=number, name=name, crosses=(spec("x", count),),
        results=(spec("sum", 1), spec("which", number + 1)), outputs=("sum", "which"),
        expected=Expected(head_ms=head_ms, tail_ms=tail_ms, link_ms=count * 32 / 50e6 * 1e3),
    )  # fmt: skip


REMOTES = (
    remote(0, "early", 14_000, 1.0, 4.0),
    remote(1, "middle", 3_500, 12.0, 3.0),
    remote(2, "late", 300, 20.0, 1.0),
)
"""40, 10 and 1 packets cross; the more of it the device computes, the fewer."""


def values(ticket: int, route: int) -> list[Array]:
    """What crosses for a frame on a route."""
    (crossing,) = REMOTES[route].crosses
    rng = np.random.default_rng((ticket, route))
    return [rng.standard_normal([extent or 0 for extent in crossing.shape], np.float32)]


def tail(route: int, arrays: Sequence[Array]) -> list[Array]:
    """What the server makes of it: which route it was is part of that."""
    total = np.asarray(np.sum(arrays[0], dtype=np.float32)).reshape(1, 1)
    return [total, np.full((1, route + 1), route, np.float32)]


class Sums:
    """Runs them."""

    is_here = True

    def run(self, route: int, frames: Sequence[Sequence[Array]]) -> list[list[Array]]:
        return [tail(route, arrays) for arrays in frames]

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Sample:
    """The tails of all routes."""

    name: str = "sample"
    tails: Mapping[int, Tail] = field(
        default_factory=lambda: {
            one.route: Tail(
                f"sample/{one.name}", one.route, one.crosses, (), one.results, one.results,
                {1: [Contract("tail", one.crosses, one.results)]}, Sums(),
            )
            for one in REMOTES
        }
    )  # fmt: skip


@dataclass
class Ways:
    """What the link does to packets; a test may change it under way.

    Args:
        up_bps: Bits a second towards the server.
        down_bps: The other way.
        delay_s: How long packets take beside.
        jitter_s: How much longer at most, each by itself.
        loss: Share lost, each way.
        twice: Share that comes twice.
    """

    up_bps: float = 50e6
    down_bps: float = 50e6
    delay_s: float = 0.002
    jitter_s: float = 0.0
    loss: float = 0.0
    twice: float = 0.0


class TwoEnds:
    """Both ends, the link between them, and the time.

    Args:
        settings: The device's.
        policy: What picks routes.
        key: Of both.
        ways: The link.
        seed: Of the link.
        server_load: How many times longer than expected tails take.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        policy: Policy | None = None,
        *,
        key: bytes | None = None,
        ways: Ways | None = None,
        seed: int = 0,
        server_load: float = 1.0,
    ) -> None:
        self.settings, self.ways, self.server_load = settings or Settings(), ways or Ways(), 1.0
        self.server_load = server_load
        self.now = 0.0
        self.key = key
        self.outcomes: dict[int, Outcome] = {}
        self.routes: dict[int, str] = {}
        self.heard: list[Datagrams] = []
        self._rng = np.random.default_rng(seed)
        self._numbers = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._free_s = {True: 0.0, False: 0.0}
        self._tail_runs = False
        self.steering = Steering(REMOTES, self.settings, policy)
        entropy = np.random.default_rng(99)
        self.session = Session(self.steering, SPLIT, self.settings, key, entropy.bytes, 0.0)
        self._tcp = self.settings.transport == "tcp"
        self.place = Place(_PLACE, "connection" if self._tcp else None)
        self._generation = 0
        self.restart()

    def restart(self) -> None:
        """A server that knows nothing of before."""
        self._generation += 1
        limits, self.measures = Limits(), Measures()
        random = np.random.default_rng(1000 + self._generation).bytes
        refusals = Refusals(limits.refusals_per_s, self.measures, _silent)
        door = Door(
            {SPLIT: Sample()}, limits, refusals, key=self.key, payload_bytes=2000, entropy=random
        )
        self.service = Service(door, refusals, limits, self.measures)
        self._tail_runs = False
        if self._tcp:
            self.session.lost(self.now)

    @property
    def number(self) -> int:
        """The session's."""
        (packet,) = (p for p in self.heard if p.headers["kind"][0] == Kind.WELCOME)
        return int(packet.headers["session"][0])

    def meet(self) -> None:
        """Wait for a session."""
        while not self.session.open:
            self.run(0.05)

    def frame(self, ticket: int, route: int | None = None) -> None:
        """Begin a frame: its head takes what it was expected to, then it is handed over.

        Args:
            ticket: Its number.
            route: Its route; by default what the policy picks.
        """
        chosen = REMOTES[route] if route is not None else self.steering.choose(self.now)
        self.routes[ticket] = chosen.name
        assert chosen.expected is not None
        head_s = chosen.expected.head_ms / 1e3

        def handed() -> None:
            self.steering.head_took(chosen.route, head_s)
            self.session.submit(ticket, chosen.route, values(ticket, chosen.route), self.now)

        self._at(self.now + head_s, handed)

    def answer(self, ticket: int, patience_s: float = 30.0) -> Outcome:
        """Begin a frame, and wait for it."""
        self.frame(ticket)
        until = self.now + patience_s
        while ticket not in self.outcomes and self.now < until:
            self._step(until)
        return self.outcomes[ticket]

    def run(self, seconds: float) -> None:
        """Let so much time go by."""
        end = self.now + seconds
        while self.now < end:
            self._step(end)

    def _step(self, end: float) -> None:
        self._act()
        dues = [end, self._events[0][0] if self._events else end]
        for due in (self.session.next_s(self.now), self.service.next_due()):
            if due is not None:
                dues.append(max(due, self.now + 1e-6))
        self.now = max(min(dues), self.now)
        while self._events and self._events[0][0] <= self.now:
            heapq.heappop(self._events)[2]()
        self._act()

    def _act(self) -> None:
        for outcome in self.session.step(self.now):
            assert outcome.ticket not in self.outcomes, "one outcome a frame"
            self.outcomes[outcome.ticket] = outcome
        if self.session.wants_new_line:
            self.session.wants_new_line = False
        for datagrams in self.session.leave(self.now):
            self._carry(datagrams, up=True)
        self._send(self.service.due(self.now))
        self._serve()

    def _serve(self) -> None:
        """One tail at a time."""
        if self._tail_runs:
            return
        batch = self.service.work.take(self.now, quick=True)
        if batch is None:
            return
        service, self._tail_runs = self.service, True
        results = batch.tail.run(batch.inputs)
        expected = REMOTES[batch.tail.route].expected
        assert expected is not None

        def done() -> None:
            if service is self.service:
                self._tail_runs = False
                self._send(service.work.done(batch, results, self.now))
                self._serve()

        self._at(self.now + expected.tail_ms / 1e3 * self.server_load, done)

    def _send(self, out: Sequence[Outgoing]) -> None:
        for packets, _ in out:
            self._carry(packets, up=False)

    def _carry(self, datagrams: Datagrams, *, up: bool) -> None:
        ways, rng = self.ways, self._rng
        rate = ways.up_bps if up else ways.down_bps
        for row in range(len(datagrams)):
            packet = bytes(datagrams.packet(row))
            begins_s = max(self._free_s[up], self.now)
            self._free_s[up] = begins_s + (len(packet) + IP_UDP_BYTES) * 8 / rate
            for _ in range(2 if rng.random() < ways.twice and not self._tcp else 1):
                if rng.random() < ways.loss and not self._tcp:
                    continue
                late_s = 0.0 if self._tcp else ways.jitter_s * rng.random()
                at = self._free_s[up] + ways.delay_s + late_s
                self._at(at, lambda packet=packet: self._arrive(packet, up=up))

    def _arrive(self, packet: bytes, *, up: bool) -> None:
        one = Datagrams.packets([packet])
        if not up:
            self.heard.append(Datagrams.packets([packet]))
            self.session.take(one, self.now)
            return
        peers = np.frombuffer(self.place.address, np.uint8)[None, :]
        self._send(self.service.receive(one, peers, self.now, self.place.stream))

    def _at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), do))


def _silent(event: str, text: str, /, **fields: str | int | float) -> None:
    pass
