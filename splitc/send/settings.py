# SPDX-License-Identifier: Apache-2.0
"""How a device sends: transport, times, what stands in for a silent server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from splitc.errors import UsageError, nearest
from splitc.link.link import parse_bandwidth, parse_seconds

Transport = Literal["udp", "resend", "parity", "tcp"]
"""How packets go: once; again while the deadline lets them; once with parity; over TCP."""

WhenSilent = Literal["error", "last", "whole"]
"""What answers where the server does not: an error, the last answer, the whole network here."""

LEAST_MTU, MOST_MTU = 576, 65_535
"""The smallest packet that every IPv4 host takes, and the largest that there is."""

TRANSPORTS: tuple[Transport, ...] = get_args(Transport)
"""In the order of their numbers on the wire."""

_WHEN_SILENT: tuple[WhenSilent, ...] = get_args(WhenSilent)
_MOST_S = 600.0
_MOST_IN_FLIGHT = 64

Name = TypeVar("Name", bound=str)


@dataclass(frozen=True)
class Settings:
    """What one conversation goes by.

    Args:
        transport: How packets go.
        parity_percent: Parity packets for 100 of data, 1 to 100; for "parity" alone.
        deadline_s: The server runs the tail on what has come this long after a frame's first
            packet.
        grace_s: How long a packet may be late behind those sent after it.
        mtu: Bytes of the largest packet, all headers included.
        bandwidth_bps: Send no faster, in bits a second; None for as fast as it goes.
        in_flight: Frames under way at once: while one is, the next one's head runs.
        silent_after_s: A frame that is not answered so long after it was sent is given up, and
            a server that said nothing meanwhile is silent.
        when_silent: What answers then.

    Raises:
        UsageError: One of them is out of its range.
    """

    transport: Transport = "udp"
    parity_percent: int = 25
    deadline_s: float = 0.1
    grace_s: float = 0.005
    mtu: int = 1500
    bandwidth_bps: float | None = None
    in_flight: int = 2
    silent_after_s: float = 1.0
    when_silent: WhenSilent = "error"

    def __post_init__(self) -> None:
        _one_of("transport", self.transport, TRANSPORTS)
        _one_of("when-silent", self.when_silent, _WHEN_SILENT)
        _within("parity", self.parity_percent, 1, 100, "%")
        _within("deadline", self.deadline_s, 1e-4, _MOST_S, " s")
        _within("grace", self.grace_s, 0, _MOST_S, " s")
        _within("silent-after", self.silent_after_s, 1e-3, _MOST_S, " s")
        _within("mtu", self.mtu, LEAST_MTU, MOST_MTU, " bytes")
        _within("in-flight", self.in_flight, 1, _MOST_IN_FLIGHT, "")

    @staticmethod
    def of(
        *,
        transport: str = "udp",
        parity: str | float = 25,
        deadline: str | float = 0.1,
        grace: str | float = 0.005,
        mtu: int = 1500,
        bandwidth: str | float | None = None,
        in_flight: int = 2,
        silent_after: str | float = 1.0,
        when_silent: str = "error",
    ) -> Settings:
        """Settings from what people write: `50ms`, `20Mbit`, `25%`.

        Raises:
            UsageError: One of them is malformed or out of its range.
        """
        return Settings(
            transport=_one_of("transport", transport, TRANSPORTS),
            parity_percent=parse_percent(parity),
            deadline_s=parse_seconds(deadline),
            grace_s=parse_seconds(grace),
            mtu=mtu,
            bandwidth_bps=None if bandwidth is None else parse_bandwidth(bandwidth),
            in_flight=in_flight,
            silent_after_s=parse_seconds(silent_after),
            when_silent=_one_of("when-silent", when_silent, _WHEN_SILENT),
        )


def parse_percent(text: str | float) -> int:
    """Whole percent from `25%`, `25` or a number.

    Raises:
        UsageError: It is none.
    """
    match = re.fullmatch(r"\s*(\d{1,3})\s*%?\s*", str(text))
    if match is None:
        raise UsageError(f"'{text}' is no percentage", hint="write it like 25%")
    return int(match[1])


def _one_of(what: str, value: str, known: tuple[Name, ...]) -> Name:
    for name in known:
        if value == name:
            return name
    raise UsageError(f"there is no {what} '{value}'", hint=nearest(value, known))


def _within(what: str, value: float, least: float, most: float, unit: str) -> None:
    if not least <= value <= most:
        why = f"it must be from {least:g} to {most:g}{unit}"
        raise UsageError(f"{what} {value:g} is out of range", why=why)
