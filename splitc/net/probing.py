# SPDX-License-Identifier: Apache-2.0
"""Measuring a link with trains of probes: round trips, bandwidth, losses and their bursts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from splitc.errors import DeviceError
from splitc.link.measured import Losses, RoundTrips, train_bandwidth
from splitc.wire.probe import SEEN, Echo

_PINGS, _PING_BYTES, _PING_APART_S = 50, 64, 0.005
_TRAINS = (16, 32, 64, 128, 256, 512)
_LONG_ENOUGH_S = 0.3
"""A train that takes so long tells enough."""
_SLOW_PROBES, _SLOW_SHARE, _SLOW_APART_S = 1000, 0.4, 0.001
"""Probes that losses are counted of, what they may take of the bandwidth, and their distance in
seconds at least: nothing waits, and what gets lost is the link's doing."""
_PATIENCE_S = 0.25
_FIRST_WAITS_S = (0.25, 0.25, 0.5, 1.0, 2.0, 4.0)


class Prober(Protocol):
    """A session with a server that answers probes."""

    def send(self, train: int, numbers: range, nbytes: int) -> None:
        """Send some probes of a train, of so many bytes of payload, that ask for short echoes."""
        ...

    def receive(self, timeout_s: float) -> list[Echo]:
        """The echoes that come first; none where none came in time.

        Raises:
            DeviceError: The session is over.
        """
        ...


@dataclass(frozen=True)
class Measured:
    """What was found of a link.

    Args:
        rtt: Round trips of small packets, one at a time.
        bandwidth_bps: Towards the server, in bits a second, the headers of IP included; None
            where it could not be told.
        up: Losses towards the server.
        down_loss_rate: Share of the answers lost on the way back.
    """

    rtt: RoundTrips
    bandwidth_bps: float | None
    up: Losses
    down_loss_rate: float

    def flags(self, mtu: int) -> list[str]:
        """The options of verbs that take a link, for this one."""
        flags = ["--rtt", f"{self.rtt.median_s * 1e3:.3g}ms", "--loss", f"{self.up.rate:.3g}"]
        if self.bandwidth_bps is not None:
            flags = ["--bandwidth", f"{self.bandwidth_bps / 1e6:.3g}Mbit", *flags]
        return [*flags, "--mtu", str(mtu)]


def measure(
    over: Prober, payload_bytes: int, overhead_bytes: int, *, seconds: float = 10.0
) -> Measured:
    """Measure a link.

    Args:
        over: A session, in which no train was sent yet.
        payload_bytes: Of the probes that bandwidth and losses are measured with.
        overhead_bytes: What such a packet has on the link beyond that.
        seconds: How long it may take, about.

    Raises:
        DeviceError: Nothing comes back, or the session is over.
    """
    one = _Measuring(over, time.monotonic() + seconds)
    rtt = one.round_trips(time.monotonic() + seconds / 5)
    packet_bytes = payload_bytes + overhead_bytes
    longest = one.fast_trains(payload_bytes, rtt, time.monotonic() + seconds / 2)
    rough = train_bandwidth(longest, packet_bytes)
    up, down_loss_rate = one.slow_train(payload_bytes, rtt, _apart_s(rough, packet_bytes))
    return Measured(
        rtt, train_bandwidth(longest, packet_bytes, up.rate), up, down_loss_rate
    )  # fmt: skip


def _apart_s(bandwidth_bps: float | None, packet_bytes: int) -> float:
    if bandwidth_bps is None:
        return _SLOW_APART_S
    return max(packet_bytes * 8 / (bandwidth_bps * _SLOW_SHARE), _SLOW_APART_S)


class _Measuring:
    def __init__(self, over: Prober, until: float) -> None:
        self._over, self._until = over, until
        self._train = -1

    def round_trips(self, until: float) -> RoundTrips:
        """Send small probes, each when the one before is back or lost."""
        took: list[float] = []
        limits = iter(_FIRST_WAITS_S)
        while len(took) < _PINGS and not (took and time.monotonic() > until):
            # Of the first it is not known how long they may take.
            limit = 4 * max(took) + _PATIENCE_S if took else next(limits, None)
            if limit is None:
                raise DeviceError(
                    "the server answers no probe", hint="does it run a version that knows them?"
                )
            self._train += 1
            sent = time.monotonic()
            self._over.send(self._train, range(1), _PING_BYTES)
            if self._collect(1, limit):
                took.append(time.monotonic() - sent)
            self._over.receive(_PING_APART_S)
        return RoundTrips.of(np.array(took))

    def fast_trains(self, nbytes: int, rtt: RoundTrips, until: float) -> NDArray[np.float64]:
        """When the packets of the longest train came that there was time for, on the server's
        clock in seconds."""
        best = np.zeros(0)
        for count in _TRAINS:
            self._train += 1
            self._over.send(self._train, range(count), nbytes)
            found = self._collect(count, _patience_s(rtt))
            clocks = np.sort([echo.clock_ns / 1e9 for echo in found])
            if len(clocks) < len(best):
                break
            best = clocks
            took = float(best[-1] - best[0]) if len(best) else 0.0
            if took > _LONG_ENOUGH_S or time.monotonic() + 2 * took > until:
                break
        return best

    def slow_train(self, nbytes: int, rtt: RoundTrips, apart_s: float) -> tuple[Losses, float]:
        """Losses towards the server of packets so far apart, and the share lost on the way back."""
        self._train += 1
        began = time.monotonic()
        count = int(min(max((self._until - began) / apart_s, SEEN), _SLOW_PROBES))
        found: list[Echo] = []
        sent = 0
        while sent < count:
            due = min(int((time.monotonic() - began) / apart_s) + 1, count)
            if due > sent:
                self._over.send(self._train, range(sent, due), nbytes)
                sent = due
            found += self._over.receive(max(began + sent * apart_s - time.monotonic(), 0.0))
        found += self._collect(count - len(found), _patience_s(rtt))
        return losses([echo for echo in found if echo.train == self._train], count)

    def _collect(self, count: int, patience_s: float) -> list[Echo]:
        """So many echoes of the present train, or as many as come without a long silence."""
        found: dict[int, Echo] = {}
        longest_s, last = patience_s, time.monotonic()
        while len(found) < count:
            for echo in self._over.receive(last + longest_s - time.monotonic()):
                if echo.train == self._train:
                    now = time.monotonic()
                    # Of a slow link the next may take as long again.
                    longest_s, last = max(longest_s, 4 * (now - last)), now
                    found[echo.number] = echo
            if time.monotonic() >= last + longest_s:
                break
        return list(found.values())


def _patience_s(rtt: RoundTrips) -> float:
    return 4 * rtt.p99_s + _PATIENCE_S


def losses(found: Sequence[Echo], count: int) -> tuple[Losses, float]:
    """What a train lost on either way, by the echoes of it that came.

    An echo tells which of the probes before its own had come, so that a lost probe and a lost
    echo are told apart. What is after the last echo, or was told of by none, is left out.

    Args:
        found: The echoes.
        count: Probes of the train.

    Returns:
        Losses of the probes, and the share of the echoes that were lost.

    Raises:
        DeviceError: There is no echo.
    """
    came, told, back = (np.zeros(count + SEEN, np.bool_) for _ in range(3))
    for echo in found:
        if echo.number < count:
            # Place 0 is the probe SEEN before the first.
            window = slice(echo.number + 1, echo.number + 1 + SEEN)
            bits = np.unpackbits(np.array([echo.seen], ">u8").view(np.uint8))
            came[window] |= bits.astype(np.bool_)
            told[window] = True
            back[echo.number + SEEN] = True
    came, told, back = (each[SEEN:] for each in (came, told, back))
    if not came.any():
        raise DeviceError("no probe of a train came back", hint="try again, or look at the network")
    return Losses.of(~came[told]), 1 - float(back[came].mean())
