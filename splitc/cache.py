# SPDX-License-Identifier: Apache-2.0
"""Where things that are made or fetched once are kept."""

from __future__ import annotations

import os
from collections.abc import Callable
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

    Filled beside and renamed, so that a folder that exists is complete, also with
    several processes at once.

    Raises:
        ToolchainError: The cache folder cannot be written.
    """
    folder = cache_dir() / key
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with owned(folder.parent) as beside:
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
