# SPDX-License-Identifier: Apache-2.0
"""What became of the frames of a simulation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from splitc.net.impairment import Passed
from splitc.send.tally import Counters


@dataclass(frozen=True)
class Record:
    """One frame.

    Args:
        number: Its number, from 0.
        began_s: When its inputs were there, in seconds since the simulation began.
        route: The route that it took.
        head_s: Seconds that its head took.
        latency_s: Seconds from its inputs to its answer; None where it was given up.
        link_tail_s: Seconds from its last packet to its answer; None with `latency_s`.
        share: Of the boundary's elements, how many the server had; 0 where it was given up.
        correct: Whether its results are right; None where that is not known.
    """

    number: int
    began_s: float
    route: str
    head_s: float
    latency_s: float | None
    link_tail_s: float | None
    share: float
    correct: bool | None

    def met(self, within_s: float) -> bool:
        """Whether it was answered in time."""
        return self.latency_s is not None and self.latency_s <= within_s


@dataclass(frozen=True)
class Latency:
    """Latencies of frames that were answered, in milliseconds; None where none was."""

    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True)
class Simulated:
    """A simulation that is over.

    Args:
        records: Its frames.
        counters: What the device counted.
        up: What became of packets to the server.
        down: What became of packets to the device.
        energy_j: Of the device a frame: its board's power while heads run, and while the link
            sends; None where no board is known.
        figures: Where the times of heads and tails are from, in words.
        notes: What is only modelled.
    """

    records: tuple[Record, ...]
    counters: Counters
    up: Passed
    down: Passed
    energy_j: float | None
    figures: str
    notes: tuple[str, ...] = ()

    @cached_property
    def latencies_s(self) -> NDArray[np.float64]:
        """Of the frames that were answered, in their order [answered]."""
        return np.array([r.latency_s for r in self.records if r.latency_s is not None], np.float64)

    @property
    def latency(self) -> Latency:
        """Mean and percentiles."""
        found = self.latencies_s * 1e3
        if not len(found):
            return Latency(None, None, None, None)
        p50, p95, p99 = (float(one) for one in np.percentile(found, (50, 95, 99)))
        return Latency(float(found.mean()), p50, p95, p99)

    def missed(self, within_s: float) -> int:
        """Frames that were not answered within so long after their inputs were there."""
        return sum(not record.met(within_s) for record in self.records)

    @property
    def unanswered(self) -> int:
        """Frames that were given up."""
        return len(self.records) - len(self.latencies_s)

    @property
    def share(self) -> float:
        """Of the boundary's elements, how many the server had, on average over all frames."""
        return float(np.mean([record.share for record in self.records]))

    @property
    def accuracy(self) -> float | None:
        """Share of frames whose results are right: none of one that was given up. None where
        that is not known."""
        if all(record.correct is None for record in self.records):
            return None
        return sum(bool(record.correct) for record in self.records) / len(self.records)

    @property
    def routes(self) -> dict[str, int]:
        """How many frames took each route that any took."""
        return dict(Counter(record.route for record in self.records))

    @property
    def switches(self) -> int:
        """How often a frame took another route than the one before."""
        return sum(one.route != other.route for one, other in pairwise(self.records))

    @property
    def seconds(self) -> float:
        """Simulated seconds from the first frame's inputs to the last answer that came."""
        ends = [r.began_s + r.latency_s for r in self.records if r.latency_s is not None]
        return max(ends, default=0.0) - self.records[0].began_s
