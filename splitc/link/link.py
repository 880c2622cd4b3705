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
    """Bits a second from `20Mbit`, `250 kbit/s`, `1Gbps`, `2.5MB/s` or a number.

    Raises:
        UsageError: The text is no bandwidth, or not above zero.
    """
    if isinstance(text, (int, float)):
        bits = float(text)
    else:
        match = re.fullmatch(
            r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kKmMgG]?)((?i:bit)(?:/s)?|bps|b/s|B/s|Bps)?\s*", text
        )
        try:
            bits = float(match.group(1)) if match else -1.0
        except ValueError:
            bits = -1.0
        if match and bits > 0:
            bits *= _UNITS[match.group(2).lower()]
            bits *= 8 if match.group(3) in ("B/s", "Bps") else 1
    if not 1 <= bits <= 1e15:
        raise UsageError(f"'{text}' is no bandwidth", hint="write it like 20Mbit or 250kbit")
    return bits


def parse_seconds(text: str | float) -> float:
    """Seconds from `5ms`, `0.2s`, `300us` or a number of seconds.

    Raises:
        UsageError: The text is no duration, or negative.
    """
    if isinstance(text, (int, float)):
        seconds = float(text)
    else:
        match = re.fullmatch(r"\s*([0-9.]+(?:e-?[0-9]+)?)\s*(us|ms|s)?\s*", text)
        try:
            seconds = float(match.group(1)) if match else -1.0
        except ValueError:
            seconds = -1.0
        if match:
            seconds *= {"us": 1e-6, "ms": 1e-3}.get(match.group(2) or "s", 1.0)
    if not 0 <= seconds <= _LONGEST_S:
        raise UsageError(f"'{text}' is no duration", hint="write it like 5ms or 0.2s")
    return seconds


@dataclass(frozen=True, init=False)
class Link:
    """What lies between device and server.

    Args:
        bandwidth: Bits a second, or text such as `20Mbit`.
        rtt: Round-trip time in seconds, or text such as `5ms`.
        loss: Fraction of packets lost, in [0, 1). Lost packets are sent again.
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
        loss: float = 0.0,
        mtu: int = 1500,
    ) -> None:
        if not 0 <= loss < 1:
            raise UsageError(f"loss rate {loss} is not in [0, 1)")
        if not HEADER_BYTES < mtu <= _LARGEST_PACKET:
            why = f"it must be over the {HEADER_BYTES} bytes of headers, at most {_LARGEST_PACKET}"
            raise UsageError(f"mtu {mtu} is no packet size", why=why)
        object.__setattr__(self, "bandwidth_bps", parse_bandwidth(bandwidth))
        object.__setattr__(self, "rtt_s", parse_seconds(rtt))
        object.__setattr__(self, "loss_rate", float(loss))
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
