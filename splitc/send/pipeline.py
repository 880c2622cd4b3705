# SPDX-License-Identifier: Apache-2.0
"""Frames one behind the other: while one is under way, the next one's head runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

Given = TypeVar("Given")
Begun = TypeVar("Begun")
Ended = TypeVar("Ended")

_PATIENCE_S = 5.0
"""How long a step that is under way may take when nobody wants its result any more."""


class _Failed:
    """Why there are no more."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Pipeline(Generic[Given, Begun, Ended]):
    """Two steps of each thing, the first in a thread of its own, in order.

    Args:
        begin: The first step.
        end: The second, in the thread that takes results.
        most: Things begun and not ended, at most.
        drop: What is done with things that were begun and whose results nobody wants any more.
    """

    def __init__(
        self,
        begin: Callable[[Given], Begun],
        end: Callable[[Begun], Ended],
        most: int,
        drop: Callable[[Begun], None] | None = None,
    ) -> None:
        self._begin, self._end, self._drop = begin, end, drop
        self._room = threading.Semaphore(most)
        self._begun: SimpleQueue[Begun | _Failed] = SimpleQueue()
        self._stopped = False

    def run(self, things: Iterable[Given]) -> Generator[Ended]:
        """The results of things, in order; what either step raises is raised here."""
        feeder = threading.Thread(target=self._feed, args=(iter(things),), daemon=True)
        feeder.start()
        try:
            while not isinstance(one := self._begun.get(), _Failed):
                ended = self._end(one)
                self._room.release()
                yield ended
            if one.error is not None:
                raise one.error
        finally:
            self._stopped = True
            self._room.release()
            feeder.join(_PATIENCE_S)
            while self._drop is not None and not self._begun.empty():
                if not isinstance(one := self._begun.get(), _Failed):
                    self._drop(one)

    def _feed(self, things: Iterator[Given]) -> None:
        try:
            while self._room.acquire() and not self._stopped:
                self._begun.put(self._begin(next(things)))
        except StopIteration:
            self._begun.put(_Failed(None))
        except BaseException as error:  # noqa: BLE001 - raised again where results are taken
            self._begun.put(_Failed(error))
