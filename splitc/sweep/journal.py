# SPDX-License-Identifier: Apache-2.0
"""What of a sweep is done, in a file: a kill costs the condition that was under way.

Lines of JSON: the inputs' digest, then a condition each. A line is there whole, or it is not
counted.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Self

import msgspec

from splitc.errors import OutputError, UsageError
from splitc.search.grid import Point
from splitc.version import __version__

SUFFIX = ".partial"
_SCHEMA = 1
_MOST_BYTES = 64 * 2**20


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    digest: str
    model: str
    sha256: str


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    point: Point
    value: Any


class Journal:
    """The conditions of one sweep that are done.

    Args:
        path: The file, beside what the sweep is written to.
        model: The network's name.
        sha256: Its digest.
        inputs: What else the results hang on, as text.
        resume: Whether to go on where the file ends.

    Raises:
        UsageError: There is such a file and `resume` is false; or it is of other inputs, or of
            another network; or there is none and `resume` is true.
        OutputError: It cannot be written.
    """

    def __init__(self, path: Path, *, model: str, sha256: str, inputs: str, resume: bool) -> None:
        self.path = path
        self.known: dict[Point, Any] = {}
        text = f"{__version__}\n{sha256}\n{inputs}"
        head = _Head(_SCHEMA, hashlib.sha256(text.encode()).hexdigest(), model, sha256)
        whole = self._read(head) if resume else self._refuse_old()
        try:
            self._file = path.open("r+b" if resume else "xb")
            self._file.seek(whole)
            self._file.truncate()
            if not whole:
                self._write(head)
        except OSError as error:
            raise _unwritable(path, error) from error

    def add(self, point: Point, value: Any) -> None:
        """A condition is done.

        Args:
            point: It.
            value: What was found, of what JSON has.

        Raises:
            OutputError: It cannot be written.
        """
        self.known[point] = value
        self._write(_Line(point, value))

    def _write(self, line: msgspec.Struct) -> None:
        try:
            self._file.write(msgspec.json.encode(line) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _refuse_old(self) -> int:
        if self.path.exists():
            hint = "--resume goes on there; to begin anew, delete it"
            raise UsageError(f"there is an unfinished sweep: '{self.path}'", hint=hint)
        return 0

    def _read(self, head: _Head) -> int:
        """Take in what is there; how many bytes of it are whole lines."""
        what = f"cannot go on with '{self.path}'"
        hint = "leave --resume out to begin anew"
        try:
            with self.path.open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise UsageError(what, why=error.strerror or "", hint=hint) from error
        whole = data.rfind(b"\n") + 1
        first, *lines = data[:whole].splitlines() or [b""]
        try:
            found = msgspec.json.decode(first, type=_Head)
            done = [msgspec.json.decode(line, type=_Line) for line in lines]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            why = f"it is no file of an unfinished sweep: {error}"
            raise UsageError(what, why=why, hint=hint) from error
        if len(data) > _MOST_BYTES:
            raise UsageError(what, why=f"it is over {_MOST_BYTES:,} bytes", hint=hint)
        if found.sha256 != head.sha256:
            why = f"it is of the model '{found.model}', {found.sha256[:12]}…"
            raise UsageError(what, why=f"{why}, not {head.sha256[:12]}…", hint=hint)
        if found != head:
            why = "it was begun with other options, or by another version"
            raise UsageError(what, why=why, hint=hint)
        self.known = {line.point: line.value for line in done}
        return whole

    def finish(self) -> None:
        """All is done, and written elsewhere: the file goes."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the file as it is, to go on with; without a condition it goes."""
        self._file.close()
        if not self.known:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _unwritable(path: Path, error: OSError) -> OutputError:
    why = error.strerror or str(error)
    return OutputError(f"cannot write '{path}'", why=why, hint="choose another -o")
