# SPDX-License-Identifier: Apache-2.0
"""REPORT: what a server saw of one frame, for the device that has to choose its next route."""

from __future__ import annotations

import struct
from typing import NamedTuple

from splitc.wire.datagrams import Datagrams
from splitc.wire.header import HEADER_BYTES, MOST_CHUNKS, Header, Kind

_REPORT = struct.Struct("<IIIIHH")
_MOST = 2**32 - 1


class Report(NamedTuple):
    """What became of a frame at the server.

    Args:
        chunks: Chunks of values that the frame has.
        came: Those of them that came over the link, not computed from parity.
        spread_us: From the arrival of the first of the frame's packets to that of the last, of
            those that came before any was asked for again; in microseconds, like all of these.
        spread_bytes: Bytes on the link of those that arrived after the first did.
        wait_us: From when the frame was closed until its tail began.
        tail_us: What the tail took, on all frames that ran with it.
    """

    chunks: int
    came: int
    spread_us: int
    spread_bytes: int
    wait_us: int
    tail_us: int

    def packet(self, session: int, split: int, frame: int, route: int) -> Datagrams:
        """The REPORT. A frame has one: no two of a session are sealed alike.

        Args:
            session: See `Header`.
            split: See `Header`.
            frame: See `Header`.
            route: See `Header`.
        """
        header = Header(Kind.REPORT, session, split, frame, route, 0, self.chunks)
        times = (self.spread_us, self.spread_bytes, self.wait_us, self.tail_us)
        clipped = (min(max(value, 0), _MOST) for value in times)
        return Datagrams.of(header, _REPORT.pack(*clipped, self.came, 0))

    @staticmethod
    def read(packet: Datagrams) -> Report | None:
        """What one packet of kind REPORT, opened, says; None where it makes no sense."""
        if int(packet.lengths[0]) != HEADER_BYTES + _REPORT.size:
            return None
        spread_us, spread_bytes, wait_us, tail_us, came, _ = _REPORT.unpack(packet.payload(0))
        chunks = int(packet.headers["chunks"][0])
        if not came <= chunks <= MOST_CHUNKS:
            return None
        return Report(chunks, came, spread_us, spread_bytes, wait_us, tail_us)
