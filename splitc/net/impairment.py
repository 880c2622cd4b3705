# SPDX-License-Identifier: Apache-2.0
"""What a bad link does to the packets of one direction, decided by a seed and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from splitc.errors import UsageError
from splitc.link.link import Link, parse_bandwidth, parse_seconds
from splitc.link.link_trace import LinkTrace
from splitc.link.loss_latency import GilbertElliott
from splitc.net.bottleneck import Bottleneck

_BLOCK = 1024
"""Packets that are decided about at once."""


@dataclass(frozen=True, eq=False)
class Impairment:
    """What happens to the packets of one direction.

    Losses come from one of three models; each packet also gets its own share of everything
    else, all of it decided by its number and the seed.

    Args:
        loss: Share of packets lost, independently, in [0, 1).
        burst: Bursts of loss, in the place of `loss`.
        trace: A recorded loss trace (`splitc.link.loss_trace`), in the place of `loss`: True for
            each packet that is lost, from its beginning again when it is over.
        varying: A recorded link, whose bandwidth and losses change with the time since its
            first packet, in the place of `bandwidth` and of the models of losses.
        delay: Time on the way, like `5ms` or seconds.
        jitter: Up to so much more, each packet by itself, uniformly. Packets may overtake.
        reorder: Share of packets that go at once, without `delay` and `jitter`, as netem has it.
        duplicate: Share of packets that come twice.
        corrupt: Share of packets in which one bit is wrong.
        bandwidth: Bits a second, like `9Mbit`, of datagrams with `overhead_bytes`; None is
            without limit.
        queue_bytes: What waits at most for the bandwidth; more is lost.
        overhead_bytes: Of a datagram on the link beyond its own: IPv4 and UDP.

    Raises:
        UsageError: A value is out of its range, or there is more than one model of losses or of
            bandwidth.
    """

    loss: float = 0.0
    burst: GilbertElliott | None = None
    trace: NDArray[np.bool_] | None = None
    varying: LinkTrace | None = None
    delay: str | float = 0.0
    jitter: str | float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    bandwidth: str | float | None = None
    queue_bytes: int = 256 * 1024
    overhead_bytes: int = 28

    def __post_init__(self) -> None:
        for name in ("loss", "reorder", "duplicate", "corrupt"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name):g} is not in [0, 1)")
        others = (self.burst, self.trace, self.varying)
        if (self.loss > 0) + sum(one is not None for one in others) > 1:
            raise UsageError("losses come from one of loss, burst, trace and varying")
        if self.varying is not None and self.bandwidth is not None:
            raise UsageError("bandwidth comes from one of bandwidth and varying")
        if self.trace is not None and not len(self.trace):
            raise UsageError("the trace is empty")
        if self.queue_bytes < 1:
            raise UsageError(f"queue_bytes {self.queue_bytes} is not above 0")
        if self.overhead_bytes < 0:
            raise UsageError(f"overhead_bytes {self.overhead_bytes} is below 0")
        _ = self.delay_s, self.jitter_s, self.bandwidth_bps

    @staticmethod
    def of(link: Link) -> Impairment:
        """One direction of a link: its bandwidth and loss, half its round trip."""
        return Impairment(loss=link.loss_rate, delay=link.rtt_s / 2, bandwidth=link.bandwidth_bps)

    @property
    def only_slow(self) -> bool:
        """Whether every packet comes, once, as it was and in order: late at most."""
        lossless = not self.loss and self.burst is None and self.trace is None
        lossless &= self.varying is None or not any(self.varying.loss_rates)
        return lossless and not (self.reorder or self.duplicate or self.corrupt or self.jitter_s)

    @cached_property
    def delay_s(self) -> float:
        """Seconds on the way."""
        return parse_seconds(self.delay)

    @cached_property
    def jitter_s(self) -> float:
        """Seconds more, at most."""
        return parse_seconds(self.jitter)

    @property
    def rate(self) -> float | LinkTrace | None:
        """How fast packets leave."""
        return self.varying or self.bandwidth_bps

    @cached_property
    def bandwidth_bps(self) -> float | None:
        """Bits a second."""
        return None if self.bandwidth is None else parse_bandwidth(self.bandwidth)


class Fate(NamedTuple):
    """What happens to one packet.

    Args:
        lost: It does not come. Where losses change with time, `draw` says.
        delay_s: Seconds on the way, without any wait for the bandwidth.
        hurried: It goes without delay.
        copies: How often it comes: 1 or 2.
        flip: Where a bit is wrong, as a share of the packet's bits; -1 is nowhere.
        draw: Uniform in [0, 1): below the loss rate of its time it is lost.
    """

    lost: bool
    delay_s: float
    hurried: bool
    copies: int
    flip: float
    draw: float

    @property
    def spoilt(self) -> bool:
        """Whether a bit is wrong."""
        return self.flip >= 0


class Plan:
    """What happens to each packet of a direction: a pure function of its number and the seed.

    Each effect draws from a stream of its own, so that changing one leaves the others as they
    are: the same packets are lost whatever the delay.

    Args:
        impairment: What the link does.
        seed: Of everything that is random.
        direction: 0 or 1: the two directions of a relay are independent.

    Raises:
        UsageError: The seed is negative.
    """

    def __init__(self, impairment: Impairment, seed: int, direction: int = 0) -> None:
        if seed < 0:
            raise UsageError(f"seed {seed} is below 0")
        self.impairment = impairment
        self._streams = [
            np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(d, e))))
            for d, e in ((direction, effect) for effect in range(6))
        ]
        self._losing = False
        self._fates: list[Fate] = []
        self._first = 0

    def fate(self, number: int) -> Fate:
        """What happens to a packet; numbers rise, and may skip.

        Raises:
            ValueError: The number is further back than what is remembered.
        """
        if number < self._first:
            raise ValueError(f"packet {number} is past, {self._first} is the first still known")
        while number >= self._first + len(self._fates):
            self._first += len(self._fates)
            self._fates = self._block()
        return self._fates[number - self._first]

    def _block(self) -> list[Fate]:
        """The fates of the next packets."""
        one = self.impairment
        loses, jitters, reorders, doubles, spoils, places = (
            stream.random(_BLOCK) for stream in self._streams
        )
        lost = self._losses(loses)
        hurried = reorders < one.reorder
        delays = np.where(hurried, 0.0, one.delay_s + one.jitter_s * jitters)
        flips = np.where(spoils < one.corrupt, places, -1.0)
        copies = 1 + (doubles < one.duplicate)
        columns = (each.tolist() for each in (lost, delays, hurried, copies, flips, loses))
        return [Fate(*row) for row in zip(*columns, strict=True)]

    def _losses(self, draws: NDArray[np.float64]) -> NDArray[np.bool_]:
        one = self.impairment
        if one.trace is not None:
            first = self._first
            return one.trace[np.arange(first, first + len(draws)) % len(one.trace)]
        if one.burst is None:
            return draws < one.loss
        return self._bursts(one.burst, draws)

    def _bursts(self, model: GilbertElliott, draws: NDArray[np.float64]) -> NDArray[np.bool_]:
        """A chain of two states, in its stationary distribution from the first packet on."""
        lost = np.empty(len(draws), np.bool_)
        for place, draw in enumerate(draws.tolist()):
            if place == 0 and self._first == 0:
                self._losing = draw < model.loss_rate
            else:
                self._losing = draw >= model.ends if self._losing else draw < model.begins
            lost[place] = self._losing
        return lost


@dataclass
class Passed:
    """What became of the packets of one direction.

    Args:
        came: Packets that came to the link.
        lost: Packets that it lost at random.
        queue_full: Packets that it lost since too many waited for the bandwidth.
        delivered: Packets that reached the other end, copies included.
        duplicated: Packets that were delivered twice.
        corrupted: Packets that were delivered with a wrong bit.
        hurried: Packets that went without delay, and may have overtaken others.
        refused: Packets that could not be handed on: the other end is gone, or does not read.
    """

    came: int = 0
    lost: int = 0
    queue_full: int = 0
    delivered: int = 0
    duplicated: int = 0
    corrupted: int = 0
    hurried: int = 0
    refused: int = 0


class Carried(NamedTuple):
    """What a link makes of a packet that it does not lose.

    Args:
        at_s: When it is handed on.
        copies: How often: 1 or 2.
        flip: Where a bit is wrong, as a share of its bits; -1 is nowhere.
    """

    at_s: float
    copies: int
    flip: float


class Direction:
    """One direction of a link: what becomes of a packet, and when; no socket and no clock.

    Args:
        impairment: What the link does.
        seed: Of everything that is random.
        direction: 0 or 1.
    """

    def __init__(self, impairment: Impairment, seed: int, direction: int = 0) -> None:
        self.passed = Passed()
        self._plan = Plan(impairment, seed, direction)
        self._varying = impairment.varying
        self._bottleneck = Bottleneck(impairment.rate, impairment.queue_bytes)
        self._overhead_bytes = impairment.overhead_bytes

    @property
    def busy_s(self) -> float:
        """Seconds that the bandwidth was taken."""
        return self._bottleneck.busy_s

    def begin(self, now: float) -> None:
        """Say when a recorded link begins, if not with this direction's first packet; once."""
        self._bottleneck.begin(now)

    def carry(self, nbytes: int, now: float) -> Carried | None:
        """When a packet that comes now is to be handed on, how often and how; None for never.

        A packet that is lost has taken its time on the link: it is lost behind it, as by radio.

        Args:
            nbytes: Its length.
            now: Seconds, never less than before.
        """
        passed = self.passed
        fate = self._plan.fate(passed.came)
        passed.came += 1
        leaves_s = self._bottleneck.leaves(now, nbytes + self._overhead_bytes)
        if leaves_s is None:
            passed.queue_full += 1
            return None
        lost = fate.lost
        if self._varying is not None:
            lost = fate.draw < self._varying.at(self._bottleneck.since(leaves_s))[1]
        if lost:
            passed.lost += 1
            return None
        passed.duplicated += fate.copies - 1
        passed.hurried += fate.hurried
        passed.corrupted += fate.spoilt
        return Carried(leaves_s + fate.delay_s, fate.copies, fate.flip)

    def take(self, packet: bytes, now: float) -> list[tuple[float, bytes]]:
        """When a packet that comes now is to be handed on, and what of it. See `carry`."""
        carried = self.carry(len(packet), now)
        if carried is None:
            return []
        if carried.flip >= 0:
            packet = flipped(packet, carried.flip)
        return [(carried.at_s, packet)] * carried.copies


def flipped(packet: bytes, where: float) -> bytes:
    """A packet with one bit wrong.

    Args:
        packet: The packet; an empty one stays as it is.
        where: Which of its bits, as a share of them in [0, 1).
    """
    bit = int(where * len(packet) * 8)
    if not packet:
        return packet
    spoilt = bytearray(packet)
    spoilt[bit // 8] ^= 1 << bit % 8
    return bytes(spoilt)
