# SPDX-License-Identifier: Apache-2.0
"""What is about to leave, in order, no faster than the link takes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from splitc.send.pacing import Bucket
from splitc.wire.datagrams import Datagrams


@dataclass
class _Waiting:
    datagrams: Datagrams
    frame: int | None
    left: Callable[[float], None] | None


class Outbox:
    """Packets that wait to leave: short messages first, then frames in their order.

    Args:
        bucket: How fast they may.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._messages: deque[_Waiting] = deque()
        self._frames: deque[_Waiting] = deque()

    def message(self, datagrams: Datagrams) -> None:
        """Queue what goes before any frame."""
        if len(datagrams):
            self._messages.append(_Waiting(datagrams, None, None))

    def frame(
        self, number: int, datagrams: Datagrams, left: Callable[[float], None] | None = None
    ) -> None:
        """Queue a frame, or a part of it.

        Args:
            number: To take it back by.
            datagrams: Its packets.
            left: Called with the time when the last of them leaves.
        """
        self._frames.append(_Waiting(datagrams, number, left))

    def take_back(self, number: int) -> None:
        """What waits of a frame does not leave any more."""
        self._frames = deque(one for one in self._frames if one.frame != number)

    def clear(self) -> None:
        """Nothing of what waits leaves any more."""
        self._messages.clear()
        self._frames.clear()

    def leave(self, now: float) -> list[Datagrams]:
        """What leaves now."""
        out: list[Datagrams] = []
        while self._messages or self._frames:
            queue = self._messages or self._frames
            one = queue[0]
            count = self._bucket.take(one.datagrams.lengths, now)
            if count:
                out.append(one.datagrams.take(slice(count)))
            if count < len(one.datagrams):
                one.datagrams = one.datagrams.take(slice(count, None))
                return out
            queue.popleft()
            if one.left is not None:
                one.left(now)
        return out

    def next_s(self, now: float) -> float | None:
        """When the next packet may leave; None where none waits."""
        queue = self._messages or self._frames
        if not queue:
            return None
        return self._bucket.next_s(int(queue[0].datagrams.lengths[0]), now)
