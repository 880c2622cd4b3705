# SPDX-License-Identifier: Apache-2.0
"""Frames that wait for a tail: in turn by peer, several at once where the tail takes several."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Takes(Protocol):
    """What frames wait for."""

    @property
    def batches(self) -> Sequence[int]:
        """How many frames it can take at once, rising, from 1."""
        ...


class Waits(Protocol):
    """A frame that waits."""

    @property
    def tail(self) -> Takes:
        """What for."""
        ...

    @property
    def owner(self) -> Hashable:
        """Whose it is."""
        ...


F = TypeVar("F", bound=Waits)


@dataclass(slots=True)
class _Line(Generic[F]):
    """The frames that wait for one tail, each peer's in their order."""

    batches: Sequence[int]
    by_owner: OrderedDict[Hashable, deque[F]]
    count: int = 0


class Waiting(Generic[F]):
    """Frames in line, a line for each tail.

    Tails take turns, and at each tail its peers do: whoever sends much waits for himself.
    """

    def __init__(self) -> None:
        self._lines: OrderedDict[int, _Line[F]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, frame: F) -> None:
        """Put a frame at the end of its peer's line."""
        line = self._lines.get(id(frame.tail))
        if line is None:
            line = self._lines[id(frame.tail)] = _Line(frame.tail.batches, OrderedDict())
        line.by_owner.setdefault(frame.owner, deque()).append(frame)
        line.count += 1
        self._count += 1

    def take(self) -> list[F]:
        """The frames to run together now, of one tail; none where none waits.

        They are as many as the tail takes at once, and no more than there are: a frame never
        waits for others.
        """
        if not self._count:
            return []
        key, line = next(iter(self._lines.items()))
        size = next(n for n in reversed(line.batches) if n <= line.count)
        taken = [self._first(line) for _ in range(size)]
        if line.count:
            self._lines.move_to_end(key)
        else:
            del self._lines[key]
        return taken

    def _first(self, line: _Line[F]) -> F:
        """Take a frame of the peer whose turn it is, who then goes to the end."""
        owner, frames = next(iter(line.by_owner.items()))
        frame = frames.popleft()
        if frames:
            line.by_owner.move_to_end(owner)
        else:
            del line.by_owner[owner]
        line.count -= 1
        self._count -= 1
        return frame

    def drop_oldest(self, owner: Hashable) -> F | None:
        """Take out the frame that a peer has had waiting longest at one of the tails."""
        for key, line in list(self._lines.items()):
            if owner in line.by_owner:
                line.by_owner.move_to_end(owner, last=False)
                frame = self._first(line)
                if not line.count:
                    del self._lines[key]
                return frame
        return None

    def drop(self, owner: Hashable) -> Iterator[F]:
        """Take out all the frames of a peer."""
        while (frame := self.drop_oldest(owner)) is not None:
            yield frame
