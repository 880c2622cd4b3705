# SPDX-License-Identifier: Apache-2.0
"""Many packets in one block of memory, as sockets send and receive them at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from splitc.arrays import Array
from splitc.wire.header import HEADER, HEADER_BYTES, TAG_BYTES, Header, write_header

_LINE = 64


class Datagrams:
    """Packets, a row each.

    Args:
        block: Their bytes [n, longest]; a row's bytes stand together, rows may lie apart.
        lengths: Bytes of each that count [n].
    """

    __slots__ = ("block", "lengths")

    def __init__(self, block: NDArray[np.uint8], lengths: NDArray[np.int64]) -> None:
        self.block = block
        self.lengths = lengths

    @staticmethod
    def room(count: int, payload_bytes: int) -> NDArray[np.uint8]:
        """A block for packets of so many bytes of payload, with room to seal them in it."""
        size = HEADER_BYTES + payload_bytes + TAG_BYTES
        return np.empty((count, -(-size // _LINE) * _LINE), np.uint8)

    @staticmethod
    def of(header: Header, payload: bytes = b"") -> Datagrams:
        """One packet."""
        return Datagrams.packets([write_header(header) + payload])

    @staticmethod
    def frame(header: Header, sizes: NDArray[np.int64], payload_bytes: int) -> Datagrams:
        """The packets of a frame, their payload still to be written.

        Args:
            header: That of each but for its number.
            sizes: Bytes of payload of each chunk, in order [n].
            payload_bytes: The most that one may have.
        """
        block = Datagrams.room(len(sizes), payload_bytes)
        block[:, :HEADER_BYTES] = np.frombuffer(write_header(header), np.uint8)
        made = Datagrams(block, sizes + HEADER_BYTES)
        made.headers["chunk"] = np.arange(len(sizes))
        return made

    @staticmethod
    def packets(packets: Sequence[bytes | memoryview]) -> Datagrams:
        """A copy of packets, header and payload each."""
        lengths = np.array([len(packet) for packet in packets], np.int64)
        longest = int(lengths.max(initial=HEADER_BYTES))
        block = Datagrams.room(len(packets), longest - HEADER_BYTES)
        for row, packet in zip(block, packets, strict=True):
            row[: len(packet)] = np.frombuffer(packet, np.uint8)
        return Datagrams(block, lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def headers(self) -> Array:
        """Their headers [n] of `HEADER`, where they lie; of a packet that is shorter than one
        they say nothing.

        Raises:
            ValueError: The block's rows are shorter than a header.
        """
        return self.block[:, :HEADER_BYTES].view(HEADER)[:, 0]

    def take(self, rows: slice | Sequence[int] | NDArray[np.intp] | NDArray[np.bool_]) -> Datagrams:
        """Some of them: where they lie for a slice, else a copy."""
        return Datagrams(self.block[rows], self.lengths[rows])

    def packet(self, row: int) -> memoryview:
        """A packet's bytes, where they lie."""
        return self.block[row, : self.lengths[row]].data

    def payload(self, row: int) -> memoryview:
        """What stands behind a packet's header, where it lies."""
        return self.block[row, HEADER_BYTES : self.lengths[row]].data
