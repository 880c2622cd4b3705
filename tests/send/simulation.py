# SPDX-License-Identifier: Apache-2.0
"""A device and a server on a simulated link and clock: seeded, and over in no time."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from splitc.arrays import Array
from splitc.runtime.manifest import Remote, TensorSpec
from splitc.send.session import Session
from splitc.send.settings import Settings
from splitc.send.steering import Steering
from splitc.send.talk import Outcome
from splitc.wire.datagrams import Datagrams
from tests.send.honest_server import HonestServer

SPLIT = 0xABCD


def spec(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=shape, bytes=4 * int(np.prod(shape)))


REMOTE = Remote(
    route=3, name="cut", crosses=(spec("a", 40, 50), spec("b", 7)),
    results=(spec("sum", 1), spec("a", 40, 50)), outputs=("sum", "a"),
)  # fmt: skip
"""Two tensors over, 8 kB; two results back, of which the second takes several packets."""


def values(ticket: int) -> list[Array]:
    """What crosses for a frame."""
    rng = np.random.default_rng(ticket)
    return [
        rng.standard_normal([extent or 0 for extent in s.shape], np.float32) for s in REMOTE.crosses
    ]


def tail(arrays: Sequence[Array]) -> list[Array]:
    """What the server makes of it."""
    return [np.asarray(np.sum(arrays[1], dtype=np.float32)).reshape(1), arrays[0]]


@dataclass(frozen=True)
class Trouble:
    """What the link does, each way, to each packet by itself.

    Args:
        loss: Share of packets lost.
        twice: Share that comes twice.
        flipped: Share of which a byte is another.
        delay_s: How long packets take.
        jitter_s: How much longer at most, each by itself, so that they overtake one another.
    """

    loss: float = 0.0
    twice: float = 0.0
    flipped: float = 0.0
    delay_s: float = 0.005
    jitter_s: float = 0.0


@dataclass
class World:
    """Both ends, what is between them, and the time.

    Args:
        server: The server.
        settings: The device's.
        trouble: What the link does.
        key: The device's key.
        seed: Of the link.
    """

    server: HonestServer
    settings: Settings = field(default_factory=Settings)
    trouble: Trouble = field(default_factory=Trouble)
    key: bytes | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self.now = 0.0
        self._rng = np.random.default_rng(self.seed)
        self._numbers = count()
        self._on_the_way: list[tuple[float, int, bool, bytes]] = []
        entropy = np.random.default_rng(99)
        self.session = Session(
            Steering((REMOTE,), self.settings), SPLIT, self.settings, self.key, entropy.bytes, 0.0
        )
        self.outcomes: dict[int, Outcome] = {}
        self.sent: list[bytes] = []

    def submit(self, ticket: int) -> None:
        """Hand a frame over."""
        self.session.submit(ticket, REMOTE.route, values(ticket), self.now)

    def run(self, seconds: float) -> None:
        """Let so much time go by."""
        end = self.now + seconds
        while self.now < end:
            self._act()
            dues = [end, self.now + 1e-3]  # The server's timers are looked at each millisecond.
            dues += [self._on_the_way[0][0]] if self._on_the_way else []
            next_s = self.session.next_s(self.now)
            dues += [max(next_s, self.now + 1e-6)] if next_s is not None else []
            self.now = min(dues)
            self._deliver()
        self._act()

    def _act(self) -> None:
        for outcome in self.session.step(self.now):
            assert outcome.ticket not in self.outcomes, "one outcome a frame"
            self.outcomes[outcome.ticket] = outcome
        for datagrams in self.session.leave(self.now):
            self.sent += [bytes(datagrams.packet(row)) for row in range(len(datagrams))]
            self._carry(datagrams, to_server=True)
        for reply in self.server.due(self.now):
            self._carry(reply, to_server=False)

    def _deliver(self) -> None:
        while self._on_the_way and self._on_the_way[0][0] <= self.now:
            _, _, to_server, packet = heapq.heappop(self._on_the_way)
            if to_server:
                for reply in self.server.take(packet, self.now):
                    self._carry(reply, to_server=False)
            else:
                self.session.take(Datagrams.packets([packet]), self.now)

    def _carry(self, datagrams: Datagrams, *, to_server: bool) -> None:
        trouble, rng = self.trouble, self._rng
        for row in range(len(datagrams)):
            for _ in range(2 if rng.random() < trouble.twice else 1):
                packet = bytearray(datagrams.packet(row))
                if rng.random() < trouble.loss:
                    continue
                if rng.random() < trouble.flipped:
                    packet[rng.integers(len(packet))] ^= 1 << int(rng.integers(8))
                at = self.now + trouble.delay_s + trouble.jitter_s * rng.random()
                heapq.heappush(
                    self._on_the_way, (at, next(self._numbers), to_server, bytes(packet))
                )
