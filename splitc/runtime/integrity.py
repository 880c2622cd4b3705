# SPDX-License-Identifier: Apache-2.0
"""Whether the files of a bundle or part are those that its manifest lists."""

from __future__ import annotations

from pathlib import Path

from splitc.errors import BadBundleError
from splitc.runtime.manifest import MANIFEST, FileEntry, PartManifest, list_files, read_manifest


def check_part(folder: Path, name: str) -> PartManifest:
    """Read a part's manifest and check every file against it.

    Raises:
        BadBundleError: A file is missing, altered or not listed.
    """
    part = read_manifest(folder, PartManifest)
    compare_files(part.files, part_files(folder), name)
    return part


def part_files(folder: Path) -> dict[str, FileEntry]:
    """The files of a part that its runner checks: all but the licences and the manifest."""
    found = list_files(folder, but=(MANIFEST,))
    return {name: entry for name, entry in found.items() if "/" not in name}


def compare_files(listed: dict[str, FileEntry], present: dict[str, FileEntry], where: str) -> None:
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
