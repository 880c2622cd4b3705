# SPDX-License-Identifier: Apache-2.0
"""What happened at a server: a line each, for people or as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TextIO

from splitc.errors import printable


class Journal(Protocol):
    """Where events go."""

    def __call__(self, event: str, text: str, /, **fields: str | int | float) -> None:
        """Write one.

        Args:
            event: Its name, stable across versions.
            text: What happened, in words.
            fields: The same for programs.
        """
        ...


def silent(event: str, text: str, /, **fields: str | int | float) -> None:
    """A journal that keeps nothing."""


class LineJournal(Journal):
    """A line an event.

    Args:
        stream: Where to; by default standard error.
        as_json: An object a line, with the time, the event's name and its fields.
        clock: The time for the lines, in seconds since 1970.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        as_json: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._as_json = as_json
        self._clock = clock

    def __call__(self, event: str, text: str, /, **fields: str | int | float) -> None:
        """Write one; a line goes out whole, from whatever thread."""
        if self._as_json:
            known = {"time": round(self._clock(), 6), "event": event, "text": text}
            line = json.dumps({**known, **fields})
        else:
            line = f"splitc: {printable(text)}"
        # A log on a full disk, or that nobody reads any more, is no reason to serve nobody.
        with suppress(OSError):
            self._stream.write(line + "\n")
            self._stream.flush()
