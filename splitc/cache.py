# SPDX-License-Identifier: Apache-2.0
"""Where things that are made or fetched once are kept."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from splitc.errors import ToolchainError
from splitc.scratch import owned


def cache_dir() -> Path:
    """`SPLITC_CACHE_DIR`, or `splitc` in the user's cache folder."""
    named = os.environ.get("SPLITC_CACHE_DIR")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "splitc"


def cached(key: str, make: Callable[[Path], None]) -> Path:
    """The cache folder of that key; `make` fills it the first time.

    Filled beside and renamed, so that a folder that exists is complete. Of several processes
    at once one fills it, and the others wait.

    Raises:
        ToolchainError: The cache folder cannot be written.
    """
    folder = cache_dir() / key
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.parent), owned(folder.parent) as beside:
            if folder.is_dir():
                return folder
            make(beside)
            try:
                beside.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
    except OSError as error:
        raise ToolchainError(
            "the cache folder cannot be written",
            at=str(error.filename or folder.parent),
            why=error.strerror or str(error),
            hint="name another in SPLITC_CACHE_DIR",
        ) from error
    return folder


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """No other process, or thread, is here at the same time, where the file system has locks."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
