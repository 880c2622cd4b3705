# SPDX-License-Identifier: Apache-2.0
"""What a receiver still waits for, as bits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from splitc.wire.datagrams import Datagrams
from splitc.wire.header import Header, Kind

NOTHING_CAME = b"\xff"
"""The bitmap of a frame of which nothing came, and not even its number of chunks is known."""


class Gap(NamedTuple):
    """Chunks of a frame that did not come.

    Args:
        frame: Its number.
        route: Its route; 0 where nothing came.
        chunks: Chunks that it has; 0 where nothing came.
        bitmap: Bit i, lowest first, is chunk i's, set where it is missing.
    """

    frame: int
    route: int
    chunks: int
    bitmap: bytes

    def packet(self, session: int, split: int, number: int) -> Datagrams:
        """The NACK.

        Args:
            session: See `Header`.
            split: See `Header`.
            number: How many NACKs this side sent in the session before: no two have the same,
                so that no two are sealed alike.
        """
        low, high = number & 0xFFFF, number >> 16 & 0xFFFF
        header = Header(Kind.NACK, session, split, self.frame, self.route, low, self.chunks, high)
        return Datagrams.of(header, self.bitmap)


def missing_bits(came: NDArray[np.bool_]) -> bytes:
    """The bitmap of the chunks that did not come."""
    return np.packbits(~came, bitorder="little").tobytes()


def missing_rows(bitmap: bytes | memoryview, chunks: int) -> NDArray[np.intp]:
    """The chunks that a NACK asks for, in order.

    Args:
        bitmap: Its payload; bits that are not there ask for nothing.
        chunks: How many the frame has: none beyond comes back.
    """
    bits = np.frombuffer(bitmap, np.uint8, count=min(len(bitmap), -(-chunks // 8)))
    return np.flatnonzero(np.unpackbits(bits, bitorder="little")[:chunks])
