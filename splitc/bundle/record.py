# SPDX-License-Identifier: Apache-2.0
"""How a bundle was made: `build.json` in its folder, for `verify --rebuild` and reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from splitc.cost.board import Board
from splitc.errors import BadBundleError
from splitc.runtime.codec_entry import Strict
from splitc.runtime.files import file_entry
from splitc.runtime.manifest import read_plain

RECORD = "build.json"
_MAX_BYTES = 2**20


class DataFile(Strict, frozen=True):
    """A file that was read beside the model: which option named it, its name and sha256."""

    option: str
    name: str
    sha256: str

    @staticmethod
    def of(option: str, path: Path) -> DataFile:
        """A file that an option names."""
        return DataFile(option=option, name=path.name, sha256=file_entry(path).sha256)


class BuildRecord(Strict, frozen=True, kw_only=True):
    """What was asked, and what it became.

    `options` are `splitc compile`'s that differ from their defaults, by name; empty where the
    bundle was compiled from objects in Python. `boards` are the sites' as they were found,
    this machine's too; `data` the files that were read beside the model.
    `source_date_epoch` is the time that was written into the bundle; null for none.
    """

    schema: int = 1
    options: dict[str, Any]
    boards: dict[str, Board]
    data: tuple[DataFile, ...] = ()
    source_date_epoch: int | None = None


def write_record(folder: Path, record: BuildRecord) -> None:
    """Write it, keys sorted."""
    data = msgspec.json.format(msgspec.json.encode(record, order="sorted"), indent=2)
    (folder / RECORD).write_bytes(data + b"\n")


def read_record(folder: Path) -> BuildRecord:
    """Read a bundle's.

    Raises:
        BadBundleError: It is missing or malformed.
    """
    at = str(folder / RECORD)
    data = read_plain(folder / RECORD, _MAX_BYTES, "record of the build")
    try:
        record = msgspec.json.decode(data, type=BuildRecord)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBundleError("record of the build is malformed", at=at, why=str(error)) from error
    if record.schema != 1:
        why = f"its schema is {record.schema}, this splitc reads 1"
        raise BadBundleError("record of the build of another schema", at=at, why=why)
    return record
