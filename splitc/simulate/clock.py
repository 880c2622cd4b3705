# SPDX-License-Identifier: Apache-2.0
"""Time that goes on from one thing that happens to the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Clock:
    """What happens next, and when. Things of one time happen in the order they were said in."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds since it began."""
        self._numbers = count()
        self._coming: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, when_s: float, do: Callable[[], None]) -> None:
        """Do something then, or now where that is past."""
        heapq.heappush(self._coming, (when_s, next(self._numbers), do))

    def go_on(self) -> bool:
        """Go on to what comes next and do it; whether there was anything."""
        if not self._coming:
            return False
        when_s, _, do = heapq.heappop(self._coming)
        self.now = max(self.now, when_s)
        do()
        return True


class Alarm:
    """Something to do at a time that moves.

    Args:
        clock: Whose time it is.
        do: What to do.
    """

    def __init__(self, clock: Clock, do: Callable[[], None]) -> None:
        self._clock, self._do = clock, do
        self._when_s: float | None = None
        self._set_s: float | None = None

    def set(self, when_s: float | None) -> None:
        """Do it then, and at no other time; never for None."""
        self._when_s = when_s
        if when_s is not None and (self._set_s is None or when_s < self._set_s):
            self._set_s = when_s
            self._clock.at(when_s, self._ring)

    def _ring(self) -> None:
        if self._set_s is None or self._clock.now < self._set_s:
            return  # Another, set for earlier, has come since.
        self._set_s = None
        when_s = self._when_s
        if when_s is None:
            return
        if when_s > self._clock.now:
            self.set(when_s)
            return
        self._when_s = None
        self._do()
