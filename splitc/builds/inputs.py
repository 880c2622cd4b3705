# SPDX-License-Identifier: Apache-2.0
"""Hashes of files, read again only where a file is not the one that was hashed before."""

from __future__ import annotations

import hashlib
import mmap
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from splitc.builds.entry import files_below
from splitc.errors import BadModelError, UsageError

_SETTLED_NS = 50_000_000
"""Clocks of file systems tick: what is written twice within one tick has one time."""


class Stamp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file system says of a file: enough to see that it is another one."""

    bytes: int
    mtime_ns: int
    ctime_ns: int

    @staticmethod
    def of(path: Path) -> Stamp:
        """A file's.

        Raises:
            OSError: There is none.
        """
        found = path.stat()
        return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def settled(self) -> Stamp:
        """It, or one that no file has where the file was written too short a while ago."""
        fresh = time.time_ns() - max(self.mtime_ns, self.ctime_ns) < _SETTLED_NS
        return Stamp(-1, 0, 0) if fresh else self


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that was hashed.

    Args:
        stamp: Its stamp then.
        sha256: Of its content.
        beside: Of a model: the files that its weights are in, by their paths.
    """

    stamp: Stamp
    sha256: str
    beside: tuple[str, ...] = ()


class Inputs:
    """The files that bundles are built from.

    Args:
        known: What was hashed before, by absolute path.
    """

    def __init__(self, known: dict[str, Known]) -> None:
        self._known = dict(known)

    def digest(self, *paths: Path) -> str:
        """One sha256 of files, or of all files in folders, by name and content.

        Raises:
            UsageError: One is not there.
            BadModelError: A model names data outside its folder.
        """
        found = hashlib.sha256()
        for path, known in self.read(paths).items():
            found.update(f"{Path(path).name} {known.sha256}\n".encode())
        return found.hexdigest()

    def read(self, paths: Iterable[Path]) -> dict[str, Known]:
        """The files, those that models have beside them too, and their hashes.

        Raises:
            UsageError: One is not there.
            BadModelError: A model names data outside its folder.
        """
        found: dict[str, Known] = {}
        for given in paths:
            for path in files_below(given):
                known = self._file(path)
                found[str(path)] = known
                found |= {each: self._file(Path(each)) for each in known.beside}
        return found

    def _file(self, path: Path) -> Known:
        try:
            stamp = Stamp.of(path)
            known = self._known.get(str(path))
            if known is None or known.stamp != stamp:
                with path.open("rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                known = Known(stamp, sha256, _beside(path))
                self._known[str(path)] = known
        except OSError as error:
            what = f"there is no file '{path}'" if not path.exists() else f"cannot read '{path}'"
            raise UsageError(what, why=error.strerror or "") from error
        return known


def _beside(path: Path) -> tuple[str, ...]:
    """Where a model keeps weights that are not in its file."""
    if path.suffix != ".onnx" or not path.stat().st_size:
        return ()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        # The word that such a model has at each tensor; onnx is not imported for others.
        if data.find(b"location") < 0:
            return ()
    from splitc.frontend.onnx.read import external_files

    try:
        return tuple(map(str, external_files(path)))
    except BadModelError:
        # Whoever loads it says so.
        return ()
