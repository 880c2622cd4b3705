# SPDX-License-Identifier: Apache-2.0
"""REPORT: what a server saw of one frame, for the device that has to choose its next route."""

from __future__ import annotations

import struct

from splitc.policy.gauge import Report
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import HEADER_BYTES, Header, Kind

_REPORT = struct.Struct("<IIIIHH")
_MOST = 2**32 - 1


def report_packet(
    report: Report, *, session: int, split: int, frame: int, route: int = 0
) -> Datagrams:
    """The REPORT of a frame, which has one: no two of a session are sealed alike.

    Args:
        report: What it says; times are rounded to microseconds.
        session: See `Header`.
        split: See `Header`.
        frame: See `Header`.
        route: See `Header`.
    """
    header = Header(Kind.REPORT, session, split, frame, route, 0, report.chunks)
    numbers = (_us(report.spread_s), report.spread_bytes, _us(report.wait_s), _us(report.tail_s))
    clipped = (min(max(number, 0), _MOST) for number in numbers)
    return Datagrams.of(header, _REPORT.pack(*clipped, report.came, 0))


def read_report(packet: Datagrams) -> Report | None:
    """What one packet of kind REPORT, opened, says; None where it makes no sense."""
    if int(packet.lengths[0]) != HEADER_BYTES + _REPORT.size:
        return None
    spread_us, nbytes, wait_us, tail_us, came, _ = _REPORT.unpack(packet.payload(0))
    chunks = int(packet.headers["chunks"][0])
    if came > chunks:
        return None
    return Report(spread_us / 1e6, nbytes, wait_us / 1e6, tail_us / 1e6, came, chunks)


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
