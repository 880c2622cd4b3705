# SPDX-License-Identifier: Apache-2.0
"""A folder of finished bundles by the keys of their builds, believed only by its hashes."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path, PurePosixPath

import msgspec

from splitc.build.others import share_files
from splitc.bundle.bundle import Bundle
from splitc.bundle.output_folder import beside, move_into_place
from splitc.errors import BadBundleError, OutputError
from splitc.runtime.files import FileEntry, file_entry
from splitc.runtime.manifest import MANIFEST
from splitc.scratch import owned

_SCHEMA = 1
_LISTING = "listing.json"
_BUNDLE = "bundle"
_MOST_BYTES = 16 * 2**20
_MOST_FILES = 10_000
_CHUNK = 2**20
_KEY = re.compile(r"[0-9a-f]{64}")


class _Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    key: str
    files: dict[str, FileEntry]


class Cache:
    """Finished bundles in a folder, several processes at once.

    Args:
        folder: Where; it is made when something is put there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _place(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def has(self, key: str) -> bool:
        """Whether there is a bundle of that key; it has not been looked at."""
        return (self._place(key) / _LISTING).is_file()

    def take(self, key: str, output: Path) -> None:
        """Put a copy of a bundle where it is wanted; every byte of it is held against its hash.

        Raises:
            BadBundleError: A file is not what was put there. The bundle has left the cache, and
                nothing was written.
            OutputError: The output cannot be written.
        """
        place = self._place(key)
        try:
            with beside(output) as folder:
                listing = _read(place, key)
                for name, entry in listing.files.items():
                    _copy(place / _BUNDLE / name, folder / name, entry, name)
                found = Bundle.open(folder)
                found.check()
                share_files(folder, found.manifest.files)
                move_into_place(folder, output)
        except BadBundleError as error:
            shutil.rmtree(place, ignore_errors=True)
            why = error.why or error.what
            what = f"the cache has another bundle than was put there: {place}"
            hint = "it has left the cache: the next build makes it anew; who else writes there?"
            raise BadBundleError(what, at=error.at, why=why, hint=hint) from error
        except OSError as error:
            why = error.strerror or str(error)
            at = str(error.filename or "")
            raise OutputError(f"cannot write '{output}'", at=at, why=why) from error

    def put(self, key: str, bundle: Path) -> None:
        """Keep a copy of a bundle that was built and checked.

        Raises:
            OutputError: The cache cannot be written.
        """
        place = self._place(key)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with owned(place.parent) as folder:
                names = (*Bundle.open(bundle).manifest.files, MANIFEST)
                files = {name: file_entry(bundle / name) for name in names}
                for name, entry in files.items():
                    _copy(bundle / name, folder / _BUNDLE / name, entry, name)
                listing = _Listing(_SCHEMA, key, files)
                (folder / _LISTING).write_bytes(msgspec.json.encode(listing))
                folder.chmod(0o755)
                with suppress(OSError):  # somebody else has just put it there
                    folder.rename(place)
        except OSError as error:
            why = error.strerror or str(error)
            raise OutputError(
                f"cannot write the cache '{self._folder}'", at=str(error.filename or ""), why=why
            ) from error

    def prune(self, keys: Collection[str]) -> int:
        """Remove every bundle that is of none of these keys; how many they were.

        Raises:
            OutputError: The cache cannot be written.
        """
        removed = 0
        try:
            for place in sorted(self._folder.glob("[0-9a-f][0-9a-f]/*")):
                if _KEY.fullmatch(place.name) and place.name not in keys:
                    shutil.rmtree(place)
                    removed += 1
        except OSError as error:
            why = error.strerror or str(error)
            raise OutputError(
                f"cannot write the cache '{self._folder}'", at=str(error.filename or ""), why=why
            ) from error
        return removed


def _read(place: Path, key: str) -> _Listing:
    """The listing of a cached bundle: bounded, of this key, with no path out of its folder.

    Raises:
        BadBundleError: It is not.
    """
    try:
        with (place / _LISTING).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        found = msgspec.json.decode(data, type=_Listing)
    except OSError as error:
        raise BadBundleError("no listing", at=_LISTING, why=error.strerror or "") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadBundleError("no listing", at=_LISTING, why=str(error)) from error
    if len(data) > _MOST_BYTES or len(found.files) > _MOST_FILES:
        raise BadBundleError("its listing is too long", at=_LISTING)
    if (found.schema, found.key) != (_SCHEMA, key):
        raise BadBundleError("its listing is of another build", at=_LISTING)
    for name in found.files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not name:
            raise BadBundleError("a path in its listing leaves the bundle", at=name[:100])
    return found


def _copy(source: Path, target: Path, entry: FileEntry, name: str) -> None:
    """Copy a plain file of so many bytes and that hash, and whether it is a program.

    Raises:
        BadBundleError: It is none, or of others.
        OSError: The copy cannot be written.
    """
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BadBundleError("a file is missing", at=name, why=error.strerror or "") from error
    with open(descriptor, "rb") as file:  # noqa: PTH123 # a descriptor that follows no link
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != entry.bytes:
            why = f"'{name}' has {status.st_size:,} bytes, not {entry.bytes:,}"
            raise BadBundleError("a file was altered", at=name, why=why)
        found, left = hashlib.sha256(), entry.bytes
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as copy:
            while chunk := file.read(min(_CHUNK, left)):
                found.update(chunk)
                copy.write(chunk)
                left -= len(chunk)
    if found.hexdigest() != entry.sha256:
        raise BadBundleError("a file was altered", at=name, why=f"'{name}' has another hash")
    target.chmod(0o755 if status.st_mode & stat.S_IXUSR else 0o644)
