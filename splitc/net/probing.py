# SPDX-License-Identifier: Apache-2.0
"""Measuring a link with trains of probes: round trips, bandwidth, losses and their bursts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from splitc.errors import DeviceError
from splitc.link.measured import Losses, RoundTrips, train_bandwidth
from splitc.wire.probe import SEEN, Echo

_PINGS, _PING_BYTES, _PING_APART_S = 50, 64, 0.01
_TRAINS = (16, 32, 64, 128, 256, 512)
_LONG_ENOUGH_S = 0.3
"""A train that takes so long tells enough."""
_SLOW_PROBES, _SLOW_SHARE, _SLOW_APART_S = 1000, 0.4, 0.001
"""Probes that losses are counted of, what they may take of the bandwidth, and their distance in
seconds at least: nothing waits, and what gets lost is the link's doing."""
_PATIENCE_S = 0.25
_FIRST_WAITS_S = (0.25, 0.25, 0.5, 1.0, 2.0, 4.0)
"""For the first echo, when nothing is known of the link."""


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
        flags: list[str] = []
        if self.bandwidth_bps is not None:
            flags += ["--bandwidth", f"{three_digits(self.bandwidth_bps / 1e6)}Mbit"]
        flags += ["--rtt", f"{three_digits(self.rtt.median_s * 1e3)}ms"]
        return [*flags, "--loss", three_digits(self.up.rate), "--mtu", str(mtu)]


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
    one = _Measuring(over)
    end = time.monotonic() + seconds
    first_s = one.first_round_trip()
    apart_s = max(_PING_APART_S, first_s / 4)
    pings = one.train(_in(seconds / 5, apart_s, 10, _PINGS), _PING_BYTES, apart_s)
    fast = one.fast_train(payload_bytes, time.monotonic() + seconds / 3)
    packet_bytes = payload_bytes + overhead_bytes
    bandwidth_bps = fast.bandwidth(packet_bytes)
    apart_s = _SLOW_APART_S
    if bandwidth_bps is not None:
        apart_s = max(packet_bytes * 8 / (bandwidth_bps * _SLOW_SHARE), apart_s)
    slow = one.train(
        _in(end - time.monotonic(), apart_s, SEEN, _SLOW_PROBES), payload_bytes, apart_s
    )
    up, down_loss_rate = slow.losses()
    round_trips = RoundTrips.of(np.array([first_s, *pings.took_s.values()]))
    return Measured(round_trips, bandwidth_bps, up, down_loss_rate)


def three_digits(value: float) -> str:
    """A figure as it was measured, without an exponent."""
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")


def _in(seconds: float, apart_s: float, least: int, most: int) -> int:
    """How many packets so far apart there is time for."""
    return min(max(int(seconds / apart_s), least), most)


@dataclass
class Train:
    """What came back of a train.

    Args:
        count: Probes that were sent.
        echoes: The echoes that came, by number.
        took_s: Seconds from each one's probe to it, by number.
    """

    count: int
    echoes: dict[int, Echo] = field(default_factory=dict[int, Echo])
    took_s: dict[int, float] = field(default_factory=dict[int, float])

    def losses(self) -> tuple[Losses, float]:
        """Losses of the probes, and the share of their echoes that were lost.

        What is after the last echo, or was told of by none, is left out.

        Raises:
            DeviceError: No echo came.
        """
        came, told = self._told()
        if not came.any():
            hint = "try again, or look at the network"
            raise DeviceError("no probe of a train came back", hint=hint)
        return Losses.of(~came[told]), 1 - len(self.echoes) / int(came.sum())

    def bandwidth(self, packet_bytes: int) -> float | None:
        """See `train_bandwidth`."""
        arrivals_s = np.full(self.count, np.nan)
        for number, echo in self.echoes.items():
            arrivals_s[number] = echo.clock_ns / 1e9
        return train_bandwidth(arrivals_s, packet_bytes)

    @property
    def lasted_s(self) -> float:
        """Seconds that its packets took to come, on the server's clock."""
        clocks = [echo.clock_ns for echo in self.echoes.values()]
        return (max(clocks) - min(clocks)) / 1e9 if clocks else 0.0

    def _told(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which probes had come, and of which that is known, by all echoes together."""
        came, told = (np.zeros(SEEN + self.count, np.bool_) for _ in range(2))
        for number, echo in self.echoes.items():
            # Place 0 is the probe SEEN before the first.
            window = slice(number + 1, number + 1 + SEEN)
            bits = np.unpackbits(np.array([echo.seen], ">u8").view(np.uint8))
            came[window] |= bits.astype(np.bool_)
            told[window] = True
        return came[SEEN:], told[SEEN:]


class _Measuring:
    """Sends trains over one session."""

    def __init__(self, over: Prober) -> None:
        self._over = over
        self._number = -1
        self._patience_s = 0.0

    def first_round_trip(self) -> float:
        """Send a small probe until one comes back; how long that one took.

        Raises:
            DeviceError: None comes.
        """
        for wait_s in _FIRST_WAITS_S:
            self._patience_s = wait_s
            for took_s in self.train(1, _PING_BYTES).took_s.values():
                self._patience_s = 4 * took_s + _PATIENCE_S
                return took_s
        hint = "does it run a version that knows them?"
        raise DeviceError("the server answers no probe", hint=hint)

    def fast_train(self, nbytes: int, until: float) -> Train:
        """The longest train of packets sent at once that there is time for."""
        best = Train(0)
        for count in _TRAINS:
            made = self.train(count, nbytes)
            if made.lasted_s < best.lasted_s:
                break
            best = made
            if best.lasted_s > _LONG_ENOUGH_S or time.monotonic() + 2 * best.lasted_s > until:
                break
        return best

    def train(self, count: int, nbytes: int, apart_s: float = 0.0) -> Train:
        """Send a train and wait for what comes back, until there is a long silence.

        Args:
            count: Its probes.
            nbytes: Bytes of payload of each.
            apart_s: Seconds between them; 0 is all at once.
        """
        self._number += 1
        made, sent_s = Train(count), list[float]()
        began = heard = time.monotonic()
        while len(made.echoes) < count:
            now = time.monotonic()
            due = min(int((now - began) / apart_s) + 1, count) if apart_s else count
            if due > len(sent_s):
                self._over.send(self._number, range(len(sent_s), due), nbytes)
                sent_s += [now] * (due - len(sent_s))
                heard = now
            all_sent = due == count
            until = heard + self._patience_s if all_sent else began + due * apart_s
            if self._hear(made, sent_s, max(until - now, 0.0)):
                now = time.monotonic()
                if all_sent:  # Of a slow link the next may take as long again.
                    self._patience_s = max(self._patience_s, 4 * (now - heard))
                heard = now
            elif all_sent and time.monotonic() >= until:
                break
        return made

    def _hear(self, made: Train, sent_s: list[float], timeout_s: float) -> bool:
        """Note the echoes that come first; whether one did."""
        came = False
        for echo in self._over.receive(timeout_s):
            if echo.train == self._number and echo.number < len(sent_s):
                came = True
                made.echoes.setdefault(echo.number, echo)
                made.took_s.setdefault(echo.number, time.monotonic() - sent_s[echo.number])
        return came
