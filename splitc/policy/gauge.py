# SPDX-License-Identifier: Apache-2.0
"""What a device measures as it goes, without a packet of its own where that can be."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from splitc.policy.base import LinkState
from splitc.policy.option import Option

_ENOUGH_PACKETS = 8
"""Packets of a frame from which on the time between them tells the bandwidth."""
_SHORTEST_S = 2e-4
"""Packets that come in less time come at once, as far as a receiver can tell."""
_BANDWIDTHS, _LOADS, _TRIPS, _FRAMES = 3, 5, 16, 32
"""How many of the last measurements count. Of three bandwidths the middle one: the second frame
over a slower link is believed, one that was held up is not."""
_LONG_S = 0.02
"""A frame whose packets come over so long is a mean over that time, and counts once more; over
twice as long twice more: then it is the middle one of three by itself."""
_PROBE_EVERY_S = 0.5
"""Without a measurement for so long the bandwidth is asked for."""
_DISAGREES = 1.25
"""A bandwidth that the middle one is off from by more is asked for again at once."""


@dataclass(frozen=True)
class Report:
    """What a server says of a frame: see docs/wire.md.

    Args:
        spread_s: Seconds from the first of its packets that came to the last.
        spread_bytes: Bytes on the link of those behind the first.
        wait_s: Seconds that it waited for its tail.
        tail_s: Seconds that the tail took.
        came: Chunks that came.
        chunks: Chunks that it has.
    """

    spread_s: float
    spread_bytes: int
    wait_s: float
    tail_s: float
    came: int
    chunks: int


class Gauge:
    """What is known of link, device and server, from what frames say of them.

    No clock: times are seconds that the caller says.

    Args:
        options: The routes.
        loses: Whether packets that are lost stay lost, so that what came tells the loss.
    """

    def __init__(self, options: Sequence[Option], *, loses: bool = True) -> None:
        self._options = {option.name: option for option in options}
        self._loses = loses
        self._bandwidths: deque[float] = deque(maxlen=_BANDWIDTHS)
        self._heads: deque[float] = deque(maxlen=_LOADS)
        self._tails: deque[float] = deque(maxlen=_LOADS)
        self._waits: deque[float] = deque(maxlen=_LOADS)
        self._trips: deque[float] = deque(maxlen=_TRIPS)
        self._chunks: deque[tuple[int, int]] = deque(maxlen=_FRAMES)
        self._measured_s = float("-inf")

    def head(self, route: str, seconds: float) -> None:
        """What the device's parts of a route took."""
        expected_s = self._options[route].head_s
        if expected_s > 0:
            self._heads.append(seconds / expected_s)

    def report(self, route: str, report: Report, now: float) -> None:
        """What the server says of a frame."""
        self._waits.append(report.wait_s)
        expected_s = self._options[route].tail_s
        if expected_s > 0:
            self._tails.append(report.tail_s / expected_s)
        if self._loses:
            self._chunks.append((report.came, report.chunks))
        if report.came >= _ENOUGH_PACKETS:
            bps = report.spread_bytes * 8 / max(report.spread_s, _SHORTEST_S)
            more = min(report.spread_s / _LONG_S, _BANDWIDTHS - 1.0)
            self.bandwidth(bps, now, 1 + int(more))

    def answered(self, report: Report, link_tail_s: float) -> None:
        """How long an answer took.

        Args:
            report: What the server said of the frame.
            link_tail_s: Seconds from the frame's last packet to the answer's last.
        """
        # A receiver waits for packets that do not come.
        if report.came == report.chunks:
            left_s = link_tail_s - report.spread_s - report.wait_s - report.tail_s
            self._trips.append(max(left_s, 0.0))

    def bandwidth(self, bps: float, now: float, weight: int = 1) -> None:
        """A bandwidth that was measured.

        Args:
            bps: Bits a second; nothing is learnt of one that is not above 0.
            now: Seconds.
            weight: How many times it counts.
        """
        if bps <= 0:
            return
        self._bandwidths.extend([bps] * weight)
        known = _median(self._bandwidths)
        agrees = known <= bps * _DISAGREES and bps <= known * _DISAGREES
        self._measured_s = now if agrees else float("-inf")

    def wants_probe(self, now: float) -> bool:
        """Whether nothing told the bandwidth for a while: what crosses is too little for that."""
        return now >= self._measured_s + _PROBE_EVERY_S

    def state(self) -> LinkState:
        """What is known now."""
        lost = sum(chunks - came for came, chunks in self._chunks)
        sent = sum(chunks for _, chunks in self._chunks)
        return LinkState(
            bandwidth_bps=_median(self._bandwidths) if self._bandwidths else None,
            loss_rate=lost / sent if sent else 0.0,
            rtt_s=min(self._trips) if self._trips else None,
            head_load=_median(self._heads) if self._heads else 1.0,
            tail_load=_median(self._tails) if self._tails else 1.0,
            wait_s=_median(self._waits) if self._waits else 0.0,
        )


def _median(values: Sequence[float]) -> float:
    """The middle one, of an even number the lower: never a value that nobody measured."""
    return sorted(values)[(len(values) - 1) // 2]
