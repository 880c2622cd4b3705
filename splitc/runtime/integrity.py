# SPDX-License-Identifier: Apache-2.0
"""Whether the files of a bundle or part are those that its manifest lists."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from splitc.errors import BadBundleError
from splitc.runtime.files import FileEntry, list_files
from splitc.runtime.manifest import MANIFEST, PartManifest, read_manifest


def check_part(
    folder: Path, name: str, present: Mapping[str, FileEntry] | None = None
) -> PartManifest:
    """Read a part's manifest and check every file against it.

    Args:
        folder: The part's.
        name: What to call it.
        present: Its files, where they were hashed already.

    Raises:
        BadBundleError: A file is missing, altered or not listed.
    """
    part = read_manifest(folder, PartManifest)
    compare_files(part.files, part_files(folder) if present is None else present, name)
    return part


def below(known: Mapping[str, FileEntry], folder: str) -> dict[str, FileEntry]:
    """The files of a part, as `part_files` gives them, among those of its bundle."""
    paths = {
        path.removeprefix(f"{folder}/"): path for path in known if path.startswith(f"{folder}/")
    }
    return {
        name: known[path] for name, path in paths.items() if "/" not in name and name != MANIFEST
    }


@contextmanager
def unchanged(*folders: Path) -> Generator[None]:
    """What is checked and then loaded within is the same: no file of the folders changes.

    Raises:
        BadBundleError: One was written to, replaced, added or removed.
    """
    before = [_state(folder) for folder in folders]
    yield
    for folder, then in zip(folders, before, strict=True):
        for name in sorted(then.items() ^ _state(folder).items()):
            why = "it changed while it was being checked and loaded"
            raise BadBundleError(f"cannot load '{name[0]}'", at=str(folder), why=why)


def _state(folder: Path) -> dict[str, tuple[int, ...]]:
    """What tells one state of each file from another, as far as the file system's times can."""
    found: dict[str, tuple[int, ...]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            st = entry.stat(follow_symlinks=False)
            state = (st.st_dev, st.st_ino, st.st_mode, st.st_size, st.st_mtime_ns, st.st_ctime_ns)
            found[entry.name] = state
    return found


def part_files(folder: Path) -> dict[str, FileEntry]:
    """The files of a part that its runner checks: all but the licences and the manifest."""
    found = list_files(folder, but=(MANIFEST,))
    return {name: entry for name, entry in found.items() if "/" not in name}


def compare_files(
    listed: Mapping[str, FileEntry], present: Mapping[str, FileEntry], where: str
) -> None:
    """Hold the files present against those listed.

    Raises:
        BadBundleError: Names the first file that differs.
    """
    for name in sorted(listed.keys() | present.keys()):
        if name not in present:
            raise BadBundleError(f"{where}: '{name}' is missing", hint="compile the bundle again")
        if name not in listed:
            raise BadBundleError(f"{where}: '{name}' is not in the manifest", hint="remove it")
        if listed[name] != present[name]:
            why = f"sha256 {present[name].sha256[:16]}…, manifest {listed[name].sha256[:16]}…"
            raise BadBundleError(
                f"{where}: '{name}' was altered", why=why, hint="compile the bundle again"
            )
