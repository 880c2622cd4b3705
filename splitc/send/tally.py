# SPDX-License-Identifier: Apache-2.0
"""What a device counts, and its times by stage."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from splitc.send.answer import Answer

_KEPT = 65_536
"""Frames that percentiles are taken over, the last ones: a device may run for years."""


@dataclass
class Counters:
    """What happened, in frames, packets and bytes; both devices count the same.

    Args:
        frames: Frames that were begun.
        answered: Frames that the server answered.
        silent: Frames that were given up: no answer came in time.
        failed: Frames that the server could not run the tail on.
        late: Frames answered later after their last packet than the deadline.
        packets_sent: All that left, again or for the first time.
        packets_resent: Packets of frames that left another time.
        packets_received: All that came.
        duplicate: Packets that had come before, or whose frame was done.
        malformed: Packets that are none of this wire, or contradict others.
        bad_seal: Packets that are not the server's, by the key.
        nacks: Questions for what is missing, sent.
        sessions: How often a server said welcome.
        bytes_sent: In packets, the headers of IP and UDP left out.
        bytes_received: The same.
    """

    frames: int = 0
    answered: int = 0
    silent: int = 0
    failed: int = 0
    late: int = 0
    packets_sent: int = 0
    packets_resent: int = 0
    packets_received: int = 0
    duplicate: int = 0
    malformed: int = 0
    bad_seal: int = 0
    nacks: int = 0
    sessions: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


@dataclass(frozen=True)
class Spread:
    """Percentiles of a time, in milliseconds; None where nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None

    @staticmethod
    def of(seconds: Iterable[float]) -> Spread:
        """Of these times."""
        times = np.fromiter(seconds, np.float64)
        if not len(times):
            return Spread(None, None, None)
        return Spread(*(float(ms) for ms in np.percentile(times, (50, 95, 99)) * 1e3))


def _recent() -> deque[float]:
    return deque(maxlen=_KEPT)


@dataclass
class Tally:
    """Who answered, how much the server had, and how long each stage took.

    Args:
        deadline_s: An answer of the server's later than that is late.
        counters: Where what is late is counted.
        origins: How many frames each answered.
        routes: How many frames took each route.
    """

    deadline_s: float
    counters: Counters
    origins: dict[str, int] = field(default_factory=dict[str, int])
    routes: dict[str, int] = field(default_factory=dict[str, int])
    _shares: deque[float] = field(default_factory=_recent)
    _head: deque[float] = field(default_factory=_recent)
    _link_tail: deque[float] = field(default_factory=_recent)
    _frame: deque[float] = field(default_factory=_recent)

    def add(self, answer: Answer) -> None:
        """Take an answer in."""
        self.origins[answer.origin] = self.origins.get(answer.origin, 0) + 1
        if answer.route is not None:
            self.routes[answer.route] = self.routes.get(answer.route, 0) + 1
        self._head.append(answer.head_s)
        self._frame.append(answer.frame_s)
        if answer.link_tail_s is None:
            return
        self._link_tail.append(answer.link_tail_s)
        self._shares.append(answer.share)
        self.counters.late += answer.link_tail_s > self.deadline_s

    @property
    def share_p50(self) -> float | None:
        """The median share of elements that the server had; None where it never answered."""
        return float(np.median(self._shares)) if self._shares else None

    @property
    def head(self) -> Spread:
        """What the head took."""
        return Spread.of(self._head)

    @property
    def link_tail(self) -> Spread:
        """From a frame's last packet to its answer's last, where the server answered."""
        return Spread.of(self._link_tail)

    @property
    def frame(self) -> Spread:
        """From the inputs to the answer, whoever answered."""
        return Spread.of(self._frame)
