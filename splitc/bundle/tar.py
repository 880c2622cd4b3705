# SPDX-License-Identifier: Apache-2.0
"""Tar archives that hang on what is in them alone, written in one go to wherever bytes go."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> int:
        """Take some."""
        ...


@dataclass(frozen=True)
class TarFile:
    """A file in an archive.

    Args:
        name: Its path there.
        bytes: Its size.
        write: Writes it.
        runs: Whether it is a program.
    """

    name: str
    bytes: int
    write: Callable[[Sink], None]
    runs: bool = False


@dataclass
class Measure:
    """A sink that keeps size and digest alone."""

    bytes: int = 0
    _hash: Any = field(default_factory=hashlib.sha256)

    def write(self, data: bytes, /) -> int:
        """Take some."""
        self._hash.update(data)
        self.bytes += len(data)
        return len(data)

    @property
    def sha256(self) -> str:
        """Of all that came, in hexadecimal."""
        return self._hash.hexdigest()


def write_tar(out: Sink, files: Iterable[TarFile], seconds: int) -> None:
    """Write an archive: root's files, all of one time, in the order in which they come.

    Args:
        out: Where to.
        files: What is in it.
        seconds: Their time, since 1970.
    """
    for one in files:
        info = tarfile.TarInfo(one.name)
        info.size, info.mtime = one.bytes, seconds
        info.mode = 0o755 if one.runs else 0o644
        out.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        one.write(out)
        out.write(bytes(-one.bytes % tarfile.BLOCKSIZE))
    out.write(bytes(2 * tarfile.BLOCKSIZE))
