# SPDX-License-Identifier: Apache-2.0
"""The output folder: written beside, then renamed, and nothing of the user's replaced."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from splitc.bundle.bundle import Bundle
from splitc.errors import OutputError, SplitcError
from splitc.runtime.files import list_files
from splitc.runtime.manifest import MANIFEST, SIGNATURE
from splitc.scratch import owned


@contextmanager
def beside(target: Path) -> Generator[Path]:
    """A new folder next to the output, so that the finished one can be renamed to it.

    Raises:
        OutputError: The place cannot be written, or holds something that is no bundle.
    """
    if target.exists() and not _may_replace(target):
        why = "it exists and is no bundle, or holds files that are not the bundle's"
        raise OutputError(f"cannot write '{target}'", why=why, hint="choose another -o")
    place = target.resolve().parent
    with ExitStack() as room:
        try:
            place.mkdir(parents=True, exist_ok=True)
            folder = room.enter_context(owned(place))
        except OSError as error:
            why = error.strerror or str(error)
            raise OutputError(
                f"cannot write '{target}'", why=why, hint="choose another -o"
            ) from error
        yield folder


def _may_replace(target: Path) -> bool:
    """Whether what stands there is an empty folder, or a bundle and nothing besides."""
    if not target.is_dir() or target.is_symlink():
        return False
    if not any(target.iterdir()):
        return True
    try:
        listed = {*Bundle.open(target).manifest.files, MANIFEST, SIGNATURE}
        return set(list_files(target)) <= listed
    except SplitcError:
        return False


def move_into_place(folder: Path, target: Path) -> None:
    """Rename the finished folder to the output; what stood there comes back if that fails."""
    folder.chmod(0o755)
    old = folder.with_name(f".{target.name}{folder.name}.old")
    if target.exists():
        target.rename(old)
    try:
        folder.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
