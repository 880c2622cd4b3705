# SPDX-License-Identifier: Apache-2.0
"""What a server counts, as plain numbers: adding one costs next to nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields

STAGES = ("collect", "wait", "tail", "answer")
"""A frame's time: from its first packet until it is closed, until its tail starts, until the tail
is done, until the answer is handed to the network."""

BOUNDS_S = (*(base * 10.0**power for power in range(-5, 1) for base in (1.0, 2.5, 5.0)), 10.0)
"""Upper bounds of the histograms' bins, in seconds; one more bin is open."""


class Histogram:
    """How often a time was how long."""

    def __init__(self) -> None:
        self.bins = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.bins[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self.bins)

    def quantile(self, share: float) -> float:
        """The upper bound of the bin in which that share of the times ends; 0 where none is."""
        left = share * self.count
        for bound, here in zip((*BOUNDS_S, float("inf")), self.bins, strict=True):
            left -= here
            if left <= 0 and self.count:
                return bound
        return 0.0


@dataclass(slots=True)
class Measures:
    """Counters of one server, since it started.

    Args:
        packets: That came, of whatever kind.
        packets_sent: That were handed to the network.
        welcomed: Sessions that were begun.
        frames: That were closed, whether complete or not.
        complete: Of those, with every packet.
        at_deadline: Of those, closed by their deadline.
        chunks: Packets of those frames.
        chunks_missing: Of those packets, that never came.
        answers: Frames that were answered with results.
        failed: Frames that were answered with the reason why there are none.
        late: Frames that were answered after their deadline.
        resent: Packets of answers that were sent once more.
        calls: Of tails; fewer than the frames where several ran at once.
        evicted_frames: Given up for want of memory.
        evicted_peers: Forgotten, as they were silent or had to make room.
        routes: Frames that were answered with results, by bundle and route.
        dropped: Packets that were not used, by reason.
        refused: How often a peer was told that it is not served, by the code.
        stages: Times by stage.
    """

    packets: int = 0
    packets_sent: int = 0
    welcomed: int = 0
    frames: int = 0
    complete: int = 0
    at_deadline: int = 0
    chunks: int = 0
    chunks_missing: int = 0
    answers: int = 0
    failed: int = 0
    late: int = 0
    resent: int = 0
    calls: int = 0
    evicted_frames: int = 0
    evicted_peers: int = 0
    routes: Counter[str] = field(default_factory=Counter[str])
    dropped: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[str] = field(default_factory=Counter[str])
    stages: dict[str, Histogram] = field(
        default_factory=lambda: {name: Histogram() for name in STAGES}
    )

    def numbers(self) -> Iterator[tuple[str, int]]:
        """Every plain counter by its name."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, int):
                yield one.name, value


@dataclass(frozen=True)
class Now:
    """What a server holds at this moment.

    Args:
        peers: Devices with a session.
        queue: Frames that wait for their tail.
        memory_bytes: Frames and answers in memory.
    """

    peers: int
    queue: int
    memory_bytes: int
