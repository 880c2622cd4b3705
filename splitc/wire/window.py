# SPDX-License-Identifier: Apache-2.0
"""Which frames a receiver still takes packets of."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Verdict(Enum):
    """What is done with a packet, by the number of its frame."""

    TAKE = "take"
    STALE = "stale"
    LATE = "late"
    JUMP = "jump"


class Begun(NamedTuple):
    """What the beginning of a frame says about others.

    Args:
        skipped: Frames before it of which nothing came yet.
        left: Frames that leave the window by it and of which nothing ever came.
    """

    skipped: range
    left: frozenset[int]


_NOTHING = Begun(range(0), frozenset())


class Window:
    """The last frames of a session, the newest seen at their end.

    A number far ahead of the newest may be an altered one: it is believed once another near it
    comes right after, as RFC 3550 (appendix A.1) does it. So one bad packet does not make every
    right one stale.

    Args:
        size: How many frames it holds.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.newest = -1
        self._skipped: set[int] = set()
        self._closed: set[int] = set()
        self._jump: int | None = None

    def judge(self, frame: int) -> Verdict:
        """What to do with a packet of a frame."""
        ahead = frame - self.newest
        if ahead > self.size:
            believed = self._jump is not None and abs(frame - self._jump) < self.size
            self._jump = frame
            return Verdict.TAKE if believed else Verdict.JUMP
        if ahead <= -self.size:
            return Verdict.STALE
        self._jump = None
        return Verdict.LATE if frame in self._closed else Verdict.TAKE

    def begin(self, frame: int) -> Begun:
        """Note that a frame begins."""
        self._skipped.discard(frame)
        if frame <= self.newest:
            return _NOTHING
        oldest = frame - self.size + 1
        ahead, self.newest = frame - self.newest, frame
        if len(self._closed) > 2 * self.size:
            self._closed = {each for each in self._closed if each >= oldest}
        if ahead == 1 and not self._skipped:
            return _NOTHING
        skipped = range(frame - ahead + 1, frame) if ahead <= self.size else range(0)
        self._skipped.update(skipped)
        left = frozenset(each for each in self._skipped if each < oldest)
        self._skipped -= left
        return Begun(skipped, left)

    def close(self, frame: int) -> None:
        """Note that a frame takes no more."""
        self._closed.add(frame)
