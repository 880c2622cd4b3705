# SPDX-License-Identifier: Apache-2.0
"""What of a bundle is handed on, in one order: what a zip of it and an image of it hold."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from splitc.bundle.runnable import twin_folder
from splitc.errors import UsageError
from splitc.runtime.manifest import (
    MANIFEST,
    SIGNATURE,
    Manifest,
    PartManifest,
    manifest_bytes,
    read_manifest,
    without_files,
)


@dataclass(frozen=True)
class Entry:
    """A file that is handed on.

    Args:
        name: Relative to the bundle's folder.
        path: Where its bytes are; None where they are given.
        data: The bytes, where they are not those of a file.
        runs: Whether it is a program.
    """

    name: str
    path: Path | None
    data: bytes = b""
    runs: bool = False

    @property
    def bytes(self) -> int:
        """Its size."""
        return len(self.data) if self.path is None else self.path.stat().st_size

    def open(self) -> BinaryIO:
        """Its bytes, to be read."""
        return io.BytesIO(self.data) if self.path is None else self.path.open("rb")


@dataclass(frozen=True)
class Contents:
    """What of a bundle is handed on.

    Args:
        manifest: Of what is handed on.
        entries: Its files: the manifest, the signature if there is one, the others by name.
        left_out: Parts whose builds for the machine that compiled them are not among them.
        parts: The parts' manifests, by name.
    """

    manifest: Manifest
    entries: tuple[Entry, ...]
    left_out: tuple[str, ...]
    parts: Mapping[str, PartManifest]

    @property
    def digest(self) -> str:
        """That of the bundle that these files are: sha256 of its manifest."""
        with self.entries[0].open() as data:
            return hashlib.sha256(data.read()).hexdigest()

    def below(self, folder: str) -> tuple[Entry, ...]:
        """The files in a folder of the bundle."""
        return tuple(one for one in self.entries if one.name.startswith(f"{folder}/"))


def contents_of(folder: Path, manifest: Manifest, *, with_twin: bool = False) -> Contents:
    """What of a bundle is handed on; its files were held against the manifest.

    Args:
        folder: The bundle's.
        manifest: Its manifest.
        with_twin: Whether builds for the machine that compiled it are, which `verify` and
            `run` need where a part's own machine is not at hand. Without them it is another
            bundle: its manifest does not list them.

    Raises:
        UsageError: They are to be left out of a bundle that was signed with them.
    """
    twins = [name for name in manifest.parts if twin_folder(folder, name).is_dir()]
    left_out = () if with_twin else tuple(twins)
    signed = (folder / SIGNATURE).exists()
    if left_out and signed:
        which = " and ".join(f"golden/{name}" for name in left_out)
        why = f"without {which} it would not be what was signed"
        hint = "--with-twin packs all of it; compile --no-twin makes bundles that have none"
        raise UsageError("the bundle is signed", at=str(folder), why=why, hint=hint)
    drops = tuple(f"golden/{name}/" for name in left_out)
    kept = [name for name in sorted(manifest.files) if not name.startswith(drops)]
    parts = {
        name: read_manifest(folder / entry.folder, PartManifest)
        for name, entry in manifest.parts.items()
    }
    runners = {f"{manifest.parts[name].folder}/{part.runner}" for name, part in parts.items()}
    runners |= {f"golden/{name}/{parts[name].runner}" for name in twins}
    known = without_files(manifest, manifest.files.keys() - {*kept}) if drops else manifest
    # As it lies there, where it is the same: whoever wrote it, its digest stays.
    first = Entry(MANIFEST, None, manifest_bytes(known)) if drops else _file(folder, MANIFEST, ())
    also = (_file(folder, SIGNATURE, ()),) if signed else ()
    files = (_file(folder, name, runners) for name in kept)
    return Contents(known, (first, *also, *files), left_out, parts)


def plain_name(name: str) -> str:
    """A network's name as a file's: it comes out of a file, and may be anything."""
    return re.sub(r"[^\w.+-]+", "_", name).strip("._")[:200] or "model"


def _file(folder: Path, name: str, runners: Collection[str]) -> Entry:
    """A file; whether it is a program the parts say, whatever mode it has here."""
    return Entry(name, folder / name, runs=name in runners)
