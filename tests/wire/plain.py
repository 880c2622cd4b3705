# SPDX-License-Identifier: Apache-2.0
"""A receiver as docs/wire.md describes it, packet by packet, in plain dictionaries.

Written from the description and sharing no code with what it is held against.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

UDP, RESEND = 0, 1


class Closed(NamedTuple):
    """A frame that takes no more."""

    frame: int
    route: int
    why: str
    chunks: dict[int, bytes]
    extra: int
    spread: tuple[float, int, int]


@dataclass
class Open:
    """A frame that is put together."""

    route: int
    first_s: float
    last_s: float
    deadline_s: float
    extra: int | None
    asked_s: float
    wait_s: float
    ended: bool = False
    asked: bool = False
    came: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    chunks: dict[int, bytes] = field(default_factory=dict[int, bytes])


@dataclass
class Receiver:
    """One session's receiver of DATA.

    Args:
        sizes: Bytes of each chunk, by route.
        session: See the header.
        split: See the header.
        transport: As in a HELLO; but for parity.
        deadline_s: Seconds from a frame's first packet.
        grace_s: Seconds of silence.
        window: Frames.
        in_flight: Frames.
    """

    sizes: dict[int, list[int]]
    session: int
    split: int
    transport: int
    deadline_s: float
    grace_s: float
    window: int
    in_flight: int
    newest: int = -1
    jump_to: int | None = None
    open: dict[int, Open] = field(default_factory=dict[int, Open])
    done: set[int] = field(default_factory=set[int])
    skipped: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    count: dict[str, int] = field(default_factory=dict[str, int])

    def tell(self, what: str, by: int = 1) -> None:
        self.count[what] = self.count.get(what, 0) + by

    def packet(self, data: bytes, now: float) -> list[Closed]:
        """One packet comes."""
        if len(data) < 32:
            self.tell("malformed")
            return []
        magic, version, kind, session, split, frame, route, chunk, chunks, extra = struct.unpack(
            "<HBBQQIHHHH", data[:32]
        )
        if magic != 0x4353 or version != 1 or not 1 <= kind <= 13:
            self.tell("malformed")
            return []
        if (session, split) != (self.session, self.split):
            self.tell("foreign")
            return []
        sizes = self.sizes.get(route, [])
        if kind != 5 or chunks != len(sizes) or chunk >= chunks or len(data) - 32 != sizes[chunk]:
            self.tell("malformed")
            return []
        if not self.admits(frame):
            return []
        closed: list[Closed] = []
        if frame not in self.open:
            closed += self.start(frame, route, now)
        one = self.open[frame]
        if one.route != route:
            self.tell("malformed")
            return closed
        if one.extra is None:
            one.extra = extra
            one.deadline_s = extra / 1000 if extra else self.deadline_s
        if chunk in one.chunks:
            self.tell("duplicate")
        else:
            self.tell("chunks")
            one.chunks[chunk] = data[32:]
            if not one.asked:
                one.came.append((now - one.first_s, len(data) - 32))
            one.last_s = one.asked_s = now
            one.wait_s = self.grace_s
            one.ended = one.ended or chunk == chunks - 1
            if len(one.chunks) == chunks:
                closed.append(self.close(frame, "complete"))
        return closed

    def start(self, frame: int, route: int, now: float) -> list[Closed]:
        closed: list[Closed] = []
        if len(self.open) == self.in_flight:
            closed.append(self.close(next(iter(self.open)), "pushed"))
        self.begin(frame, len(self.sizes[route]), now)
        self.open[frame] = Open(route, now, now, self.deadline_s, None, now, self.grace_s)
        return closed

    def all_was_sent(self, frame: int, route: int, now: float) -> list[Closed]:
        """The sender says that it has sent all of a frame."""
        closed: list[Closed] = []
        if frame not in self.open:
            counted = dict(self.count)
            taken = route in self.sizes and self.admits(frame)
            self.count = counted
            if not taken:
                return closed
            closed = self.start(frame, route, now)
        self.open[frame].ended = True
        return closed

    def admits(self, frame: int) -> bool:
        if frame > self.newest + self.window:
            near = self.jump_to is not None and abs(frame - self.jump_to) < self.window
            self.jump_to = frame
            if not near:
                self.tell("jump")
            return near
        if frame <= self.newest - self.window:
            self.tell("stale")
            return False
        self.jump_to = None
        if frame in self.done:
            self.tell("late")
            return False
        return True

    def begin(self, frame: int, chunks: int, now: float) -> None:
        self.skipped.pop(frame, None)
        if frame <= self.newest:
            return
        if frame <= self.newest + self.window:
            for number in range(self.newest + 1, frame):
                self.skipped[number] = [now, now, self.grace_s]
        self.newest = frame
        for number in [n for n in self.skipped if n <= frame - self.window]:
            del self.skipped[number]
            self.tell("missing", chunks)
            self.tell("expected", chunks)

    def close(self, frame: int, why: str) -> Closed:
        one = self.open.pop(frame)
        self.done.add(frame)
        chunks = len(self.sizes[one.route])
        self.tell(why)
        self.tell("expected", chunks)
        self.tell("missing", chunks - len(one.chunks))
        return Closed(frame, one.route, why, one.chunks, one.extra or 0, spread(one.came))

    def over_s(self, frame: int) -> float:
        """When it has been silent for long enough, if it is known to be over."""
        one = self.open[frame]
        over = one.ended or frame < self.newest
        return one.last_s + self.grace_s if over and self.transport == UDP else float("inf")

    def due(self, now: float) -> list[Closed]:
        closed: list[Closed] = []
        for frame, one in list(self.open.items()):
            up_s = one.first_s + one.deadline_s
            if now >= min(up_s, self.over_s(frame)):
                closed.append(
                    self.close(frame, "grace" if self.over_s(frame) <= up_s else "deadline")
                )
        return closed

    def gaps(self, now: float) -> list[tuple[int, set[int] | None]]:
        """Frames to ask for, with their missing chunks; None asks for all of a frame."""
        found: list[tuple[int, set[int] | None]] = []
        if self.transport != RESEND:
            return found
        for number, (seen_s, asked_s, wait_s) in list(self.skipped.items()):
            if now >= seen_s + self.deadline_s:
                self.skipped[number][2] = float("inf")
            elif now >= asked_s + wait_s:
                self.skipped[number] = [seen_s, now, 2 * wait_s]
                found.append((number, None))
        for number, one in self.open.items():
            if now >= one.asked_s + one.wait_s:
                one.asked_s, one.wait_s, one.asked = now, 2 * one.wait_s, True
                found.append((number, {*range(len(self.sizes[one.route]))} - {*one.chunks}))
        return found


def spread(came: list[tuple[float, int]]) -> tuple[float, int, int]:
    """What a report says of packets that came so long after the first, and so many bytes each."""
    later = [(after_s, nbytes) for after_s, nbytes in came if after_s > 0]
    total = sum(nbytes for _, nbytes in came)
    if later:
        return later[-1][0], len(later), sum(nbytes for _, nbytes in later)
    return 0.0, max(len(came) - 1, 0), total - total // max(len(came), 1)
