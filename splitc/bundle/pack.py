# SPDX-License-Identifier: Apache-2.0
"""A bundle as one zip: the same bytes for the same bundle, on any machine."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from splitc.bundle.contents import Contents, Entry, plain_name
from splitc.epoch import source_date
from splitc.errors import OutputError
from splitc.scratch import require_room

SUFFIX = ".zip"

_FIRST = datetime(1980, 1, 1, tzinfo=UTC)
_LAST = datetime(2107, 12, 31, 23, 59, 58, tzinfo=UTC)
"""What a zip can tell of a time."""


def write_zip(contents: Contents, target: Path) -> None:
    """Write the files under one folder, in their order.

    They are stored as they are: what a compressor makes of them hangs on its release, and
    weights hardly shrink. Their time is SOURCE_DATE_EPOCH's, or 1980.

    Args:
        contents: What is packed.
        target: The zip; one that is there is replaced when the new one is complete.

    Raises:
        OutputError: It cannot be written.
        UsageError: SOURCE_DATE_EPOCH is no time.
    """
    when = min(max(source_date() or _FIRST, _FIRST), _LAST)
    root = f"{plain_name(contents.manifest.name)}.splitc"
    with (
        replacing(target, sum(entry.bytes for entry in contents.entries)) as beside,
        zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive,
    ):
        for entry in contents.entries:
            with entry.open() as data, archive.open(_info(root, entry, when), "w") as out:
                shutil.copyfileobj(data, out, 2**20)


def _info(root: str, entry: Entry, when: datetime) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(f"{root}/{entry.name}", when.timetuple()[:6])
    info.create_system = 3  # Unix, whose modes these are
    info.external_attr = (0o100755 if entry.runs else 0o100644) << 16
    info.file_size = entry.bytes
    return info


@contextmanager
def replacing(target: Path, nbytes: int) -> Generator[Path]:
    """A file beside another, renamed to it at the end, and gone where something failed.

    Args:
        target: The file.
        nbytes: What it is going to take at least.

    Raises:
        OutputError: It cannot be written.
    """
    beside = target.with_name(f".{target.name}.new")
    try:
        require_room(target.absolute().parent, nbytes)
        yield beside
        beside.replace(target)
    except OSError as error:
        hint = "choose another -o"
        why = error.strerror or str(error)
        raise OutputError(f"cannot write '{target}'", why=why, hint=hint) from error
    finally:
        beside.unlink(missing_ok=True)
