# SPDX-License-Identifier: Apache-2.0
"""Where things that are made or fetched once are kept."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from splitc.errors import ToolchainError


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
        beside = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    except OSError as error:
        raise ToolchainError(
            "the cache folder cannot be written",
            at=str(folder.parent),
            why=error.strerror or "",
            hint="name another in SPLITC_CACHE_DIR",
        ) from error
    try:
        make(beside)
        try:
            beside.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder
