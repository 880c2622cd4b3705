# SPDX-License-Identifier: Apache-2.0
"""Packets in a stream: the length of each before it, as 32 bits, little end first."""

from __future__ import annotations

import struct

from splitc.wire.datagrams import Datagrams
from splitc.wire.header import HEADER_BYTES

_LENGTH = struct.Struct("<I")


def framed(datagrams: Datagrams) -> bytes:
    """Packets as a stream carries them."""
    pieces: list[bytes | memoryview] = []
    for row, length in enumerate(datagrams.lengths.tolist()):
        pieces += (_LENGTH.pack(length), datagrams.packet(row))
    return b"".join(pieces)


class Framing:
    """Finds the packets in what a stream gave, wherever it was cut.

    It holds less than one packet; what `add` gives at once is bounded by what it is given,
    since no packet is shorter than a header.

    Args:
        longest: Bytes of a packet at most.
    """

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.broken = False
        """Whether there was a length that no packet has: nothing after it can be found."""
        self._rest = bytearray()

    @property
    def held(self) -> int:
        """Bytes of a packet that has not wholly come."""
        return len(self._rest)

    def add(self, data: bytes) -> Datagrams:
        """The packets that are complete with these bytes, a copy of them."""
        packets: list[bytes] = []
        if not self.broken:
            self._rest += data
            place = 0
            while len(self._rest) - place >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._rest, place)
                if not HEADER_BYTES <= length <= self.longest:
                    self.broken = True
                    place = len(self._rest)
                    break
                end = place + _LENGTH.size + length
                if end > len(self._rest):
                    break
                packets.append(bytes(self._rest[place + _LENGTH.size : end]))
                place = end
            del self._rest[:place]
        return Datagrams.packets(packets)
