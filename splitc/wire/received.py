# SPDX-License-Identifier: Apache-2.0
"""What a receiver tells of frames and packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from splitc.arrays import Array

Why = Literal["complete", "grace", "deadline", "pushed"]
"""Why a frame was closed: all came; it was over, and nothing more came for a while; its time was
up; another began and there was no room."""


class Spread(NamedTuple):
    """How far apart a frame's packets came, of those that came before any was asked for again.

    Args:
        seconds: From the arrival of the first to that of the last.
        packets: Those that arrived after the first did; all but one where all arrived at once.
        payload_bytes: What they carried.
    """

    seconds: float
    packets: int
    payload_bytes: int


class Received(NamedTuple):
    """A frame that takes no more packets.

    Args:
        frame: Its number.
        route: Its route.
        arrays: What its chunks give; of an answer that is not whole, nothing.
        share: Of the elements that came, or of an answer's chunks.
        came: Chunks that came or were computed from parity.
        computed: Those of them that were computed.
        chunks: Chunks that it has.
        extra: What its packets' headers say beside: a deadline in ms, or an answer's share.
        first_s: When its first packet came.
        closed_s: When it was closed.
        why: Why it was.
        spread: How far apart its packets came.
    """

    frame: int
    route: int
    arrays: list[Array]
    share: float
    came: int
    computed: int
    chunks: int
    extra: int
    first_s: float
    closed_s: float
    why: Why
    spread: Spread


@dataclass
class Counters:
    """What became of packets, and of frames.

    Args:
        chunks: Packets of values that were taken.
        parity: Packets of parity that were taken.
        duplicate: Dropped: the same came before.
        stale: Dropped: of a frame older than the window.
        late: Dropped: of a frame that was closed.
        jump: Dropped: of a frame too far ahead to be believed at once.
        malformed: Dropped: contradicts the route, or itself.
        foreign: Dropped: of another session or bundle.
        complete: Frames that were closed with all chunks.
        grace: Frames that were closed a while after they were over.
        deadline: Frames that were closed when their time was up.
        pushed: Frames that were closed for others to begin.
        missing: Chunks that did not come, of closed frames and of those left out.
        expected: Chunks that those frames have.
        recovered: Chunks that were computed from parity.
    """

    chunks: int = 0
    parity: int = 0
    duplicate: int = 0
    stale: int = 0
    late: int = 0
    jump: int = 0
    malformed: int = 0
    foreign: int = 0
    complete: int = 0
    grace: int = 0
    deadline: int = 0
    pushed: int = 0
    missing: int = 0
    expected: int = 0
    recovered: int = 0
