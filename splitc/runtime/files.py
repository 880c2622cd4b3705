# SPDX-License-Identifier: Apache-2.0
"""The files below a folder, by size and hash."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from splitc.errors import BadBundleError
from splitc.runtime.codec_entry import Strict


class FileEntry(Strict, frozen=True):
    """A file's size in bytes and its sha256 in hexadecimal."""

    bytes: int
    sha256: str


def file_entry(path: Path) -> FileEntry:
    """Size and sha256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(bytes=path.stat().st_size, sha256=digest)


def list_files(folder: Path, *, but: tuple[str, ...] = ()) -> dict[str, FileEntry]:
    """Every file below a folder by its relative path, sorted.

    Raises:
        BadBundleError: Something in it is neither file nor folder.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise BadBundleError("a bundle holds plain files only", at=str(path))
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in but:
            found[name] = path
    # Hashing runs without Python's lock, and weights of head and tail take most of the time.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return dict(zip(found, pool.map(file_entry, found.values()), strict=True))
