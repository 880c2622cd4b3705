# SPDX-License-Identifier: Apache-2.0
"""The link between device and server: bandwidth, round trip, loss, packet size."""

from __future__ import annotations

import re
from dataclasses import dataclass

from splitc.errors import UsageError, nearest

HEADER_BYTES = 40
"""IPv4 and TCP headers without options."""

_LONGEST_S = 1e6
_LARGEST_PACKET = 65_535

_UNITS: dict[str, float] = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


def parse_bandwidth(text: str | float) -> float:
    """Bits a second from `20Mbit`, `250 kbit/s`, `1Gbps`, `2.5MB/s`, or a number of them.

    Raises:
        UsageError: The text is no bandwidth, has no unit, or is not above zero.
    """
    if isinstance(text, (int, float)):
        bits = float(text)
    else:
        match = re.fullmatch(
            r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kKmMgG]?)((?i:bit)(?:/s)?|bps|b/s|B/s|Bps)?\s*", text
        )
        bits = _number(match)
        if match and bits > 0:
            if not match.group(2) and not match.group(3):
                raise _no_unit("bandwidth", text, f"{match.group(1)}Mbit or {match.group(1)}kbit")
            bits *= _UNITS[match.group(2).lower()]
            bits *= 8 if match.group(3) in ("B/s", "Bps") else 1
    if not 1 <= bits <= 1e15:
        raise UsageError(
            f"'{text}' is no bandwidth", hint="write it like 20Mbit, 250kbit or 2.5MB/s"
        )
    return bits


def parse_seconds(text: str | float) -> float:
    """Seconds from `5ms`, `0.2s`, `300us`, or a number of them; `0` needs no unit.

    Raises:
        UsageError: The text is no duration, has no unit, or is negative.
    """
    if isinstance(text, (int, float)):
        seconds = float(text)
    else:
        match = re.fullmatch(r"\s*([0-9.]+(?:e-?[0-9]+)?)\s*(us|ms|s)?\s*", text)
        seconds = _number(match)
        if match and seconds > 0:
            if not match.group(2):
                raise _no_unit("time", text, f"{match.group(1)}ms or {match.group(1)}s")
            seconds *= {"us": 1e-6, "ms": 1e-3, "s": 1.0}[match.group(2)]
    if not 0 <= seconds <= _LONGEST_S:
        raise UsageError(f"'{text}' is no duration", hint="write it like 5ms or 0.2s")
    return seconds


def parse_share(text: str | float) -> float:
    """A fraction from `30%`, `0.3`, or a number; of what range, who takes it says.

    Raises:
        UsageError: The text is no number.
    """
    if isinstance(text, (int, float)):
        return float(text)
    try:
        if (number := text.strip()).endswith("%"):
            return float(number[:-1]) / 100
        return float(number)
    except ValueError as error:
        raise UsageError(f"'{text}' is no share", hint="write it like 30% or 0.3") from error


def _number(match: re.Match[str] | None) -> float:
    """The number that a text begins with; -1 where it is none."""
    try:
        return float(match.group(1)) if match else -1.0
    except ValueError:
        return -1.0


def _no_unit(what: str, text: str, hint: str) -> UsageError:
    return UsageError(f"{what} '{text}' has no unit", hint=f"write {hint}, whichever is meant")


@dataclass(frozen=True, init=False)
class Link:
    """What lies between device and server.

    Args:
        bandwidth: Bits a second, or text with a unit such as `20Mbit` or `2.5MB/s`.
        rtt: Round-trip time in seconds, or text with a unit such as `5ms`.
        loss: Fraction of packets lost, in [0, 1), or text such as `30%`. Lost packets are sent
            again.
        mtu: Largest packet in bytes, headers included.

    Raises:
        UsageError: A value is out of its range.
    """

    bandwidth_bps: float
    rtt_s: float
    loss_rate: float
    mtu_bytes: int

    def __init__(
        self,
        bandwidth: str | float,
        *,
        rtt: str | float = 0.0,
        loss: str | float = 0.0,
        mtu: int = 1500,
    ) -> None:
        loss_rate = parse_share(loss)
        if not 0 <= loss_rate < 1:
            hint = "write it like 30% or 0.3"
            raise UsageError(f"loss rate {loss} is not in [0, 1)", hint=hint)
        if not HEADER_BYTES < mtu <= _LARGEST_PACKET:
            why = f"it must be over the {HEADER_BYTES} bytes of headers, at most {_LARGEST_PACKET}"
            raise UsageError(f"mtu {mtu} is no packet size", why=why)
        object.__setattr__(self, "bandwidth_bps", parse_bandwidth(bandwidth))
        object.__setattr__(self, "rtt_s", parse_seconds(rtt))
        object.__setattr__(self, "loss_rate", loss_rate)
        object.__setattr__(self, "mtu_bytes", int(mtu))

    @staticmethod
    def named(name: str) -> Link:
        """A link by its everyday name.

        Raises:
            UsageError: There is no such link; the hint lists the nearest.
        """
        if name not in LINKS:
            raise UsageError(f"there is no link '{name}'", hint=nearest(name, LINKS))
        return LINKS[name]

    def transfer_s(self, nbytes: int) -> float:
        """Expected seconds to push that many bytes through, the round trip left out.

        Whole packets of `mtu` bytes; each is sent 1/(1 - loss) times on average.
        """
        packets = -(-nbytes // (self.mtu_bytes - HEADER_BYTES))
        return packets * self.mtu_bytes * 8 / self.bandwidth_bps / (1 - self.loss_rate)

    def __str__(self) -> str:
        for name, link in LINKS.items():
            if link == self:
                return f"{name} ({self._figures()})"
        return self._figures()

    def _figures(self) -> str:
        text = f"{self.bandwidth_bps / 1e6:g} Mbit/s, rtt {self.rtt_s * 1e3:g} ms"
        return text + (f", loss {self.loss_rate:g}" if self.loss_rate else "")


LINKS: dict[str, Link] = {
    # Mean uplinks of the mobile networks that Neurosurgeon measured (Kang et al.,
    # ASPLOS 2017, and the T-Mobile figures JointDNN quotes); round trips are the
    # usual orders of magnitude of each technology.
    "3g": Link("1.1Mbit", rtt="80ms"),
    "lte": Link("5.85Mbit", rtt="50ms"),
    "wifi": Link("18.88Mbit", rtt="5ms"),
    # IEEE nominal rates, at the three quarters that TCP commonly reaches.
    "wifi5": Link("200Mbit", rtt="3ms"),
    "5g": Link("50Mbit", rtt="20ms"),
    "ethernet": Link("940Mbit", rtt="0.5ms"),
    # LoRa SF7 at 125 kHz: 5.47 kbit/s, 222 payload bytes and the header.
    "lora": Link("5.47kbit", rtt="1s", mtu=262),
}
