# SPDX-License-Identifier: Apache-2.0
"""Temporary folders that say which disk is full, and that a later run sweeps away; whole files.

A process that is killed takes nothing away. Each folder is locked as long as its owner
lives, so the next one to make a folder beside it knows which are nobody's.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from splitc.errors import OutputError, ToolchainError

PREFIX = ".splitc-tmp-"
_NAME = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}")
_FRESH_S = 60.0
"""A folder is this old before it is swept: its owner may not have come to lock it."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def owned(place: Path) -> Generator[Path]:
    """A new folder in a place, gone at the end unless it was renamed; stale ones are swept.

    Raises:
        OSError: It cannot be made.
    """
    sweep(place)
    # Named before it is made: a signal right behind that leaves nothing.
    folder = place / f"{PREFIX}{secrets.token_hex(4)}"
    lock, mine = -1, True
    try:
        try:
            folder.mkdir(0o700)
        except FileExistsError:
            mine = False
            raise
        lock = os.open(folder, os.O_RDONLY)
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        if mine:
            shutil.rmtree(folder, ignore_errors=True)
        if lock >= 0:
            os.close(lock)


@contextmanager
def scratch() -> Generator[Path]:
    """A folder where this machine keeps temporary files.

    Raises:
        ToolchainError: There is no room in it, or it cannot be made.
    """
    place = ""
    try:
        place = tempfile.gettempdir()
        with owned(Path(place)) as folder:
            yield folder
    except OSError as error:
        # numpy tells of a full disk without a number.
        if place and error.filename and not str(error.filename).startswith(place):
            raise
        raise ToolchainError(
            "temporary files cannot be written",
            at=place,
            why=error.strerror or str(error),
            hint="name a folder on another disk in TMPDIR",
        ) from error


def sweep(place: Path) -> None:
    """Take away the folders of processes that are no more."""
    with suppress(OSError):
        for found in os.scandir(place):
            if _NAME.fullmatch(found.name) and found.is_dir(follow_symlinks=False):
                _sweep_one(Path(found.path))


def _sweep_one(folder: Path) -> None:
    with suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            known = os.fstat(lock)
            if known.st_uid == os.getuid() and time.time() - known.st_mtime > _FRESH_S:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def require_room(place: Path, nbytes: int) -> None:
    """Refuse to begin what would fill a disk.

    Raises:
        OSError: ENOSPC, naming the place.
    """
    found = os.statvfs(place)
    if found.f_bavail * found.f_frsize < nbytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))


def full_disk(*places: Path) -> Path | None:
    """The first of some places whose disk has next to nothing left."""
    for place in places:
        with suppress(OSError):
            found = os.statvfs(place)
            if found.f_bavail * found.f_frsize < 2**20:
                return place
    return None


def write_whole(path: str | Path, text: bytes) -> None:
    """Write a file beside its place and rename it, so that none is ever there in part.

    Raises:
        OutputError: It cannot be written.
    """
    place = Path(path)
    beside = place.with_name(f".{place.name}.partial")
    try:
        beside.write_bytes(text)
        beside.replace(place)
    except OSError as error:
        beside.unlink(missing_ok=True)
        why = error.strerror or str(error)
        raise OutputError(f"cannot write '{path}'", why=why, hint="choose another -o") from error
