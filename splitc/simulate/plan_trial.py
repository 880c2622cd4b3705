# SPDX-License-Identifier: Apache-2.0
"""A plan for a lossy link tried out: device and server as they are, over a simulated link.

References:
    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", Journal of the
    American Statistical Association 22(158), 1927.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from splitc.errors import UsageError
from splitc.link.packets import TAG_BYTES
from splitc.net.impairment import Impairment
from splitc.search.loss_choice import Choice
from splitc.send.settings import Settings
from splitc.simulate.parts import Assumed, AssumedParts
from splitc.simulate.simulate import simulate
from splitc.simulate.two_ways import TwoWays

_Z95 = 1.959964
_MOST_FRAMES = 1_000_000
_CLOCK_S = 1e-6
"""What a time may be late: it is a wait for the next event on the clock."""


@dataclass(frozen=True)
class Trial:
    """What became of the frames.

    Args:
        frames: How many there were.
        kept: Those whose result was there within the limit: of all of the boundary, where what
            is lost is sent again.
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


def settings_of(choice: Choice, limit_s: float) -> Settings:
    """How a device sends what was chosen, so that the tail waits as long as the limit leaves.

    Args:
        choice: What `plan_for_loss` chose.
        limit_s: Seconds from input to result.

    Raises:
        UsageError: No device sends such packets, or waits so short.
    """
    how = choice.sending
    return Settings(
        transport=how.transport, parity_percent=how.parity_percent or 1, mtu=how.mtu,
        deadline_s=choice.deadline_s(limit_s),
        grace_s=choice.crossing.grace_s, bandwidth_bps=choice.crossing.link.bandwidth_bps,
        in_flight=1, silent_after_s=max(1.0, 2 * limit_s),
    )  # fmt: skip


def try_out(choice: Choice, limit_s: float, frames: int, seed: int = 0) -> Trial:
    """Send frames as a choice says, one by one, and count.

    Args:
        choice: What `plan_for_loss` chose.
        limit_s: Seconds from input to result.
        frames: How many.
        seed: Of the losses.

    Raises:
        UsageError: There are no frames, or too many; or see `settings_of`.
        ToolchainError: A package is missing that parity needs.
    """
    if not 1 <= frames <= _MOST_FRAMES:
        raise UsageError(f"frames {frames}", why=f"it must be from 1 to {_MOST_FRAMES}")
    crossing, link = choice.crossing, choice.crossing.link
    sent = crossing.elements
    route = Assumed(
        "planned", choice.head_s, sent.units * sent.unit.nbytes, choice.tail_s,
        choice.results_bytes or 0,
    )  # fmt: skip
    overhead = Impairment().overhead_bytes + TAG_BYTES * crossing.sealed
    calm = Impairment(
        delay=link.rtt_s / 2, bandwidth=link.bandwidth_bps, overhead_bytes=overhead,
        queue_bytes=max(256 * 1024, crossing.nbytes),
    )  # fmt: skip
    lossy = (
        replace(calm, loss=link.loss_rate)
        if crossing.burst is None
        else replace(calm, burst=crossing.burst)
    )
    apart_s = 2 * limit_s + crossing.grace_s + link.rtt_s
    found = simulate(
        AssumedParts([route]), TwoWays(lossy, calm), settings_of(choice, limit_s), frames=frames,
        rate=1 / apart_s, seed=seed,
    )  # fmt: skip
    whole = choice.sending.resends
    kept = sum(
        record.met(limit_s + choice.heard_s + _CLOCK_S) and not (whole and record.share < 1)
        for record in found.records
    )
    missing = 1 - np.array([record.share for record in found.records])
    reached = choice.trained.each(missing)
    return Trial(frames, kept, float(missing.mean()), float(reached.mean()), float(reached.std()))
