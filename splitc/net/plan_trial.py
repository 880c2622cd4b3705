# SPDX-License-Identifier: Apache-2.0
"""A choice for a lossy link tried out: its packets over the link that the relay makes.

Packets of their real sizes go through `Direction`, with its queue, delay and losses, frame after
frame. What arrives by the deadline that the limit leaves, and what parity computes from it, is
what the tail would run on; what is sent again goes round by round.

References:
    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", Journal of the
    American Statistical Association 22(158), 1927.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splitc.errors import UsageError
from splitc.link.lossy_crossing import Crossing
from splitc.link.parity_groups import there
from splitc.net.impairment import Direction, Impairment
from splitc.search.loss_choice import Choice

_Z95 = 1.959964
_MOST_FRAMES = 1_000_000
_MOST_ROUNDS = 1000
_ROUNDED_S = 1e-9
"""What sums of times may be off."""


@dataclass(frozen=True)
class Trial:
    """What became of the frames.

    Args:
        frames: How many there were.
        kept: Those whose result was there within the limit.
        missing: Share of the elements that was missing, mean over the frames.
        accuracy: What the tested network reaches with what was there, mean over the frames.
        accuracy_sd: Its standard deviation over the frames.
    """

    frames: int
    kept: int
    missing: float
    accuracy: float
    accuracy_sd: float

    @property
    def interval(self) -> tuple[float, float]:
        """P(latency <= limit): Wilson's 95 % interval."""
        n, share, z2 = self.frames, self.kept / self.frames, _Z95**2
        centre = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)

    @property
    def accuracy_error(self) -> float:
        """95 % of such trials have a mean accuracy so far from the expected one at most."""
        return _Z95 * self.accuracy_sd / math.sqrt(self.frames)


def try_out(choice: Choice, limit_s: float, frames: int, seed: int = 0) -> Trial:
    """Send frames as a choice says, and count.

    Args:
        choice: What `plan_for_loss` chose, over its link.
        limit_s: Seconds from input to result.
        frames: How many.
        seed: Of the losses.

    Raises:
        UsageError: There are no frames, or too many.
    """
    if not 1 <= frames <= _MOST_FRAMES:
        raise UsageError(f"frames {frames}", why=f"it must be from 1 to {_MOST_FRAMES}")
    crossing = choice.crossing
    burst = crossing.burst
    impairment = Impairment(
        loss=0.0 if burst else crossing.link.loss_rate, burst=burst,
        delay=crossing.link.rtt_s / 2, bandwidth=crossing.link.bandwidth_bps,
        queue_bytes=max(256 * 1024, crossing.nbytes), overhead_bytes=0,
    )  # fmt: skip
    line = _Line(crossing, Direction(impairment, seed))
    left_s = limit_s - choice.head_s - choice.tail_s - choice.back_s
    send = line.until_all if crossing.sending.resends else line.once
    elements = np.bincount(crossing.elements.packet_of_element(), minlength=crossing.packets)
    kept, missing = 0, np.zeros(frames)
    for number in range(frames):
        took_s, here = send(left_s)
        kept += took_s <= left_s + _ROUNDED_S
        missing[number] = elements[~here].sum() / crossing.elements.count
    reached = choice.trained.each(missing)
    return Trial(frames, kept, float(missing.mean()), float(reached.mean()), float(reached.std()))


class _Line:
    """Frames over one direction, one after another."""

    def __init__(self, crossing: Crossing, direction: Direction) -> None:
        self._crossing, self._direction = crossing, direction
        self._packets = [bytes(size) for size in crossing.packet_bytes]
        self._now = 0.0

    def once(self, left_s: float) -> tuple[float, NDArray[np.bool_]]:
        """When the last packet of a frame was through, and which chunks the tail has by then.

        Args:
            left_s: What comes later is not waited for.
        """
        start, crossing = self._now, self._crossing
        came, last = np.zeros(len(self._packets), np.bool_), start
        for number, packet in enumerate(self._packets):
            for when, _ in self._direction.take(packet, start):
                came[number], last = when <= start + left_s + _ROUNDED_S, when
        self._now = start + crossing.once_s + crossing.link.rtt_s
        return last - start, there(crossing.groups, crossing.packets, came[None])[0]

    def until_all(self, left_s: float) -> tuple[float, NDArray[np.bool_]]:
        """When the last chunk of a frame came, each round what the server lacked.

        Args:
            left_s: Is no matter: a frame that takes longer is late.
        """
        start, crossing = self._now, self._crossing
        here = np.zeros(crossing.packets, np.bool_)
        asked, last = start, start
        for _ in range(_MOST_ROUNDS):
            ends = asked
            for number in np.flatnonzero(~here).tolist():
                packet = self._packets[number]
                ends += len(packet) * 8 / crossing.link.bandwidth_bps
                for when, _ in self._direction.take(packet, asked):
                    here[number], last = True, when
            if here.all():
                break
            asked = ends + crossing.link.rtt_s + crossing.grace_s
        self._now = max(asked, last) + crossing.link.rtt_s
        return (last - start if here.all() else math.inf), here
