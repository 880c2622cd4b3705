# SPDX-License-Identifier: Apache-2.0
"""The output folder: written beside, then renamed, and nothing of the user's replaced."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from splitc.bundle import Bundle
from splitc.errors import OutputError, SplitcError
from splitc.manifest import MANIFEST, list_files


def beside(target: Path) -> Path:
    """A new folder next to the output, so that the finished one can be renamed to it.

    Raises:
        OutputError: The place cannot be written, or holds something that is no bundle.
    """
    if target.exists() and not _may_replace(target):
        why = "it exists and is no bundle, or holds files that are not the bundle's"
        raise OutputError(f"cannot write '{target}'", why=why, hint="choose another -o")
    try:
        target.resolve().parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.resolve().parent)
    except OSError as error:
        raise OutputError(
            f"cannot write '{target}'", why=error.strerror or str(error), hint="choose another -o"
        ) from error
    return Path(folder)


def _may_replace(target: Path) -> bool:
    """Whether what stands there is an empty folder, or a bundle and nothing besides."""
    if not target.is_dir() or target.is_symlink():
        return False
    if not any(target.iterdir()):
        return True
    try:
        listed = {*Bundle.open(target).manifest.files, MANIFEST}
        return set(list_files(target)) <= listed
    except SplitcError:
        return False


def move_into_place(folder: Path, target: Path) -> None:
    """Rename the finished folder to the output; what stood there comes back if that fails."""
    folder.chmod(0o755)
    old = folder.with_name(folder.name + ".old")
    if target.exists():
        target.rename(old)
    try:
        folder.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
