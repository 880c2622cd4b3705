# SPDX-License-Identifier: Apache-2.0
"""What an output was built from, kept beside it: whether it still is what would be built."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from splitc.builds.inputs import Known, Stamp
from splitc.builds.key import Key
from splitc.errors import OutputError, SplitcError
from splitc.runtime.files import file_entry
from splitc.runtime.manifest import MANIFEST, Manifest, read_manifest
from splitc.scratch import owned

FOLDER = ".splitc-builds"
"""Beside the outputs: a file for each."""
_SCHEMA = 1
_MOST_BYTES = 16 * 2**20


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an output was built from.

    Args:
        schema: Of this file.
        key: Of the build.
        inputs: The files that it read, by absolute path.
        manifest: Sha256 of the bundle's manifest.
        files: The bundle's files as they were written, by name.
    """

    schema: int
    key: Key
    inputs: dict[str, Known]
    manifest: str
    files: dict[str, Stamp]


def _place(output: Path) -> Path:
    return output.parent / FOLDER / f"{output.name}.json"


def read_record(output: Path) -> Record | None:
    """The record of an output; None where there is none that can be read."""
    try:
        with _place(output).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        found = msgspec.json.decode(data, type=Record)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found if found.schema == _SCHEMA and len(data) <= _MOST_BYTES else None


def write_record(output: Path, key: Key, inputs: dict[str, Known]) -> None:
    """Write down what a finished bundle was built from.

    Raises:
        OutputError: It cannot be written.
    """
    listed = read_manifest(output, Manifest).files
    stamps = {name: Stamp.of(output / name).settled() for name in (*listed, MANIFEST)}
    kept = {
        path: msgspec.structs.replace(known, stamp=known.stamp.settled())
        for path, known in inputs.items()
    }
    manifest = hashlib.sha256((output / MANIFEST).read_bytes()).hexdigest()
    record = Record(_SCHEMA, key, kept, manifest, stamps)
    place = _place(output)
    try:
        place.parent.mkdir(exist_ok=True)
        with owned(place.parent) as beside:
            (beside / place.name).write_bytes(msgspec.json.encode(record))
            (beside / place.name).replace(place)
    except OSError as error:
        raise OutputError(f"cannot write '{place}'", why=error.strerror or "") from error


def forget(output: Path) -> None:
    """Take an output's record away: what is built there next has not been checked."""
    _place(output).unlink(missing_ok=True)


def why_not(output: Path, key: Key, record: Record | None) -> str:
    """Why an output has to be built, in words; "" where it is what would be built."""
    if not output.is_dir():
        return "new"
    if record is None:
        return "not known what it was built from"
    if record.key != key:
        return key.differs(record.key)
    return _altered(output, record)


def _altered(output: Path, record: Record) -> str:
    """Which file of a bundle is not as it was written, in words.

    Hashes are looked at where the file system says that a file is another one.
    """
    try:
        other = [name for name, stamp in record.files.items() if Stamp.of(output / name) != stamp]
        if not other:
            return ""
        manifest = output / MANIFEST
        if file_entry(manifest).sha256 != record.manifest:
            return f"{MANIFEST} was altered"
        listed = read_manifest(output, Manifest).files
        for name in other:
            if name != MANIFEST and listed.get(name) != file_entry(output / name):
                return f"{name} was altered"
    except OSError as error:
        return f"{Path(error.filename or output).name} is missing"
    except SplitcError as error:
        return error.what
    return ""
