# SPDX-License-Identifier: Apache-2.0
"""Which cut is quickest over which bandwidth, and where one gives way to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_BPS, MOST_BPS = 1e4, 1e10
"""The bandwidths that are looked at."""


@dataclass(frozen=True)
class Line:
    """The latency of a cut over the bandwidth of a link: `fixed_ms + bits / bandwidth`.

    Args:
        fixed_ms: What the bandwidth changes nothing of: head, round trip, tail.
        kilobits: What the link is held up with, packets' headers and those that are sent again
            among them, in thousands of bits: milliseconds at a bit a second.
    """

    fixed_ms: float
    kilobits: float

    @staticmethod
    def of(head_ms: float, link_ms: float, busy_ms: float, tail_ms: float, bps: float) -> Line:
        """From the times of a cut over a link of one bandwidth; see `CutCost`."""
        return Line(head_ms + max(link_ms - busy_ms, 0.0) + tail_ms, busy_ms * bps)

    def at(self, bps: float) -> float:
        """Milliseconds over a link of that bandwidth."""
        return self.fixed_ms + self.kilobits / bps


@dataclass(frozen=True)
class Reign:
    """Bandwidths over which one line is the lowest: its number, and from where to where."""

    line: int
    from_bps: float
    to_bps: float


def reigns(lines: Sequence[Line]) -> tuple[Reign, ...]:
    """The lines that are the lowest somewhere, by ascending bandwidth.

    Over the inverse of the bandwidth they are straight: the next one to win, as bandwidth
    grows, is the line of a smaller fixed part that is crossed first. Of equals it is the first.
    """
    now = min(
        range(len(lines)), key=lambda k: (lines[k].at(LEAST_BPS), lines[k].fixed_ms), default=None
    )
    found: list[Reign] = []
    bps = LEAST_BPS
    while now is not None:
        here, end, then = lines[now], math.inf, None
        for k, other in enumerate(lines):
            if other.fixed_ms >= here.fixed_ms:
                continue
            crossing = (other.kilobits - here.kilobits) / (here.fixed_ms - other.fixed_ms)
            best = math.inf if then is None else lines[then].fixed_ms
            if max(crossing, bps) < end or (crossing == end and other.fixed_ms < best):
                end, then = max(crossing, bps), k
        if end >= MOST_BPS:
            then = None
        if min(end, MOST_BPS) > bps:
            found.append(Reign(now, bps, min(end, MOST_BPS)))
        now, bps = then, end
    return tuple(found)
