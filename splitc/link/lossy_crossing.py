# SPDX-License-Identifier: Apache-2.0
"""What arrives of a boundary, and when: sent once, with parity, or again until all is there.

A boundary fills n packets. Sent once over independent losses, exactly: Binomial(n, p) of them are
lost, and of a group with m parity packets only where fewer of those came than are lost. Losses in
bursts, and boundaries that are sent again until all arrived, are drawn (`arrivals`).

References:
    Itahara, Nishio, Yamamoto, "Packet-Loss-Tolerant Split Inference", GLOBECOM 2021,
    arXiv:2104.13629, section III.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from splitc.errors import UsageError
from splitc.link.arrivals import Shares, missing_in_bursts, rounds_until_all
from splitc.link.link import Link
from splitc.link.loss_latency import GilbertElliott, Transfer
from splitc.link.packets import (
    HEADER_BYTES,
    IP_UDP_BYTES,
    MOST_CHUNKS,
    TAG_BYTES,
    Chunks,
    payload_bytes,
)
from splitc.link.parity_groups import Group, parity_groups

_LEAST_BEYOND = 10
"""Boundaries drawn that take longer than a time that is given as a quantile."""


@dataclass(frozen=True)
class Sending:
    """How a boundary is sent.

    Args:
        mtu: Bytes of the largest packet, all headers included.
        parity_percent: Parity packets for 100 of data, 0 to 100; 0 is none.
        resends: What is lost goes again until all arrived.

    Raises:
        UsageError: A value is out of its range, or there is parity for what is sent again.
    """

    mtu: int = 1500
    parity_percent: int = 0
    resends: bool = False

    def __post_init__(self) -> None:
        payload_bytes(self.mtu)
        if not 0 <= self.parity_percent <= 100:
            raise UsageError(f"parity {self.parity_percent} is not in 0 to 100 percent")
        if self.resends and self.parity_percent:
            why = "the wire sends packets again or with parity, not both"
            raise UsageError(f"parity {self.parity_percent} for what is sent again", why=why)

    @property
    def transport(self) -> Literal["udp", "resend", "parity"]:
        """What `splitc send --transport` calls it."""
        return "resend" if self.resends else "parity" if self.parity_percent else "udp"

    def __str__(self) -> str:
        parity = f"parity {self.parity_percent}%" if self.parity_percent else "once"
        return "again" if self.resends else parity


@dataclass(frozen=True)
class Crossing:
    """A boundary on its way over a link, in packets as splitc sends them.

    Args:
        link: The link; its own packet size is no matter.
        elements: What crosses: elements in units, in packets of the sending's payload.
        sending: How.
        grace_s: How long after the last packet of a round what is missing is asked for.
        sealed: Packets are sealed with a key.
        burst: Losses in bursts, in the place of independent ones at the link's rate.

    Raises:
        UsageError: There are more packets than a frame can have.
    """

    link: Link
    elements: Chunks
    sending: Sending
    grace_s: float = 0.0
    sealed: bool = False
    burst: GilbertElliott | None = None

    def __post_init__(self) -> None:
        if self.packets > MOST_CHUNKS:
            why, hint = f"a frame has at most {MOST_CHUNKS}", "larger packets, or fewer bits"
            raise UsageError(f"a boundary of {self.packets} packets", why=why, hint=hint)

    @property
    def packets(self) -> int:
        """Packets with values."""
        return self.elements.packets

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """What is computed from one another; without parity nothing is."""
        if not self.sending.parity_percent:
            return (Group(range(self.packets), range(0)),)
        return tuple(parity_groups(self.packets, self.sending.parity_percent))

    @property
    def blocks(self) -> int:
        """Parity packets."""
        return sum(len(group.blocks) for group in self.groups)

    @property
    def header_bytes(self) -> int:
        """Of each packet beside its values."""
        return IP_UDP_BYTES + HEADER_BYTES + TAG_BYTES * self.sealed

    @cached_property
    def packet_bytes(self) -> tuple[int, ...]:
        """Bytes of each packet on the link, headers included: values, then parity."""
        sent, headers = self.elements, self.header_bytes
        full = sent.each * sent.unit.nbytes
        last = sent.units * sent.unit.nbytes - (self.packets - 1) * full
        values = (full + headers,) * (self.packets - 1) + (last + headers,)
        return values + (sent.payload_bytes + headers,) * self.blocks

    @cached_property
    def nbytes(self) -> int:
        """Bytes on the link when each packet goes once."""
        return sum(self.packet_bytes)

    @property
    def once_s(self) -> float:
        """Seconds until the last packet is there when each goes once."""
        return self.nbytes * 8 / self.link.bandwidth_bps + self.link.rtt_s / 2

    @cached_property
    def missing(self) -> Shares:
        """The share of the elements that the server does not get."""
        if self.sending.resends:
            return Shares(np.zeros(1), np.ones(1))
        parity = self.sending.parity_percent
        if self.burst is not None:
            return missing_in_bursts(self.elements, self.burst, parity)
        return missing(self.elements, self.link.loss_rate, parity)

    def late_start(self, share: float) -> float:
        """How many of a frame's first packets a share of all frames have lost at most.

        The server's deadline begins with the first packet that comes. So one that lost the first
        few, and has to wait for its deadline, waits so much longer. 0 where that many frames are
        complete, which wait for nothing. Infinite where of too many frames nothing comes at all.
        """
        p, rest = self.link.loss_rate, 1 - share
        if p == 0 or self.sending.resends or min(p, self._incomplete) <= rest:
            return 0
        goes_on = self._goes_on
        most = math.ceil(math.log(rest / p) / math.log(goes_on) - 1e-9) if goes_on else 1
        return most if most < self.packets + self.blocks else math.inf

    def quantile_s(self, share: float) -> float:
        """Seconds within which a share of all boundaries is there, or given up.

        Sent once, that is when the last packet would be there, had the first that comes been
        `late_start` packets late. Sent again, it is drawn; every packet counts as a full one,
        and so few draws lie beyond some shares that no time is known: then it is infinite.

        Raises:
            UsageError: The share is not in (0, 1).
        """
        if not 0 < share < 1:
            raise UsageError(f"quantile {share:g} is not in (0, 1)")
        if not self.sending.resends:
            return self.once_s + self.late_start(share) * self._each_s
        seconds = np.sort(self._repeated_s)
        beyond = math.floor((1 - share) * len(seconds))
        return float(seconds[-1 - beyond]) if beyond >= _LEAST_BEYOND else math.inf

    def within(self, seconds: float, share: float) -> float:
        """The chance, at least, that the boundary is there, or given up, within so many seconds.

        Of frames sent once that began late, those that were over before their deadline count as
        late too.

        Args:
            seconds: On the link.
            share: For which the server's deadline is set, `deadline_s`.
        """
        if self.sending.resends:
            return float((self._repeated_s <= seconds).mean())
        if seconds < self.quantile_s(share) - 1e-12:
            return 0.0
        beyond = self.link.loss_rate * self._goes_on ** self.late_start(share)
        return 1 - min(self._incomplete, beyond)

    def deadline_s(self, seconds: float, share: float) -> float:
        """How long after the first packet that came the server may wait, for `within`."""
        start = self.packet_bytes[0] * 8 / self.link.bandwidth_bps + self.link.rtt_s / 2
        return seconds - start - self.late_start(share) * self._each_s

    @property
    def _goes_on(self) -> float:
        """The chance that the packet after a lost one is lost too."""
        return self.link.loss_rate if self.burst is None else 1 - self.burst.ends

    @cached_property
    def _incomplete(self) -> float:
        """The chance that something is missing."""
        return float(self.missing.pmf[self.missing.values > 0].sum())

    @property
    def _each_s(self) -> float:
        """Seconds of the largest packet."""
        return max(self.packet_bytes[0], self.packet_bytes[-1]) * 8 / self.link.bandwidth_bps

    @cached_property
    def _repeated_s(self) -> NDArray[np.float64]:
        """Seconds until all arrived, of each boundary that was drawn."""
        drawn = rounds_until_all(self.packets, self.link.loss_rate, self.burst)
        seconds = drawn.seconds(self._each_s, self.link.rtt_s, self.grace_s)
        return seconds + self.once_s - self.packets * self._each_s


@functools.lru_cache(maxsize=1024)
def missing(elements: Chunks, loss_rate: float, parity_percent: int = 0) -> Shares:
    """The share of elements that is missing when packets go once, exactly.

    Args:
        elements: In packets.
        loss_rate: p, independent.
        parity_percent: Parity packets for 100 of data; 0 is none.

    Raises:
        UsageError: A value is out of its range.
    """
    packets = elements.packets
    groups = parity_groups(packets, parity_percent) if parity_percent else None
    # By how many full packets are missing: `there` while the last one is not, `gone` when it is.
    there, gone = np.ones(1), np.zeros(1)
    for chunks, blocks in groups or [Group(range(packets), range(0))]:
        last = packets - 1 in chunks
        lost = _lost(len(chunks) - last, loss_rate)
        few = _fewer_came(len(blocks), loss_rate, len(lost) + 1)
        alone = lost * few[: len(lost)] * (1 - loss_rate * last)
        with_last = lost * few[1 : len(lost) + 1] * (loss_rate * last)
        alone[0] += max(0.0, 1 - alone.sum() - with_last.sum())
        there, gone = (
            np.convolve(there, alone),
            np.convolve(there, with_last) if last else np.convolve(gone, alone),
        )
    full = elements.each * elements.unit.elements
    rest = elements.count - (packets - 1) * full
    values = np.concatenate([np.arange(len(there)) * full, np.arange(len(gone)) * full + rest])
    pmf = np.concatenate([there, gone])
    likely = pmf > 0
    return Shares(values[likely] / elements.count, pmf[likely])


@functools.lru_cache(maxsize=1024)
def _lost(packets: int, loss_rate: float) -> NDArray[np.float64]:
    """The chance that 0, 1, … of so many packets are lost [packets + 1]."""
    pmf = np.zeros(packets + 1)
    if packets == 0:
        pmf[0] = 1.0
        return pmf
    came = Transfer(packets, 0.0, loss_rate).received
    pmf[packets - came.values] = came.pmf
    return pmf


def _fewer_came(blocks: int, loss_rate: float, size: int) -> NDArray[np.float64]:
    """The chance that fewer than 0, 1, … of so many blocks came [size]."""
    came = _lost(blocks, loss_rate)[::-1]
    fewer = np.concatenate([[0.0], np.cumsum(came)])[:size]
    return np.concatenate([fewer, np.ones(size - len(fewer))])
