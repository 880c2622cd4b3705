# SPDX-License-Identifier: Apache-2.0
"""A packed bundle, taken apart again: nothing is written that its manifest does not list."""

from __future__ import annotations

import struct
import unicodedata
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, NoReturn

from splitc.bundle.bundle import SUFFIX, Bundle
from splitc.bundle.output_folder import beside, move_into_place
from splitc.errors import BadBundleError, OutputError, UsageError
from splitc.ir.model import DEFAULT_MAX_BYTES
from splitc.runtime.manifest import MANIFEST, MAX_MANIFEST_BYTES, SIGNATURE, Manifest, read_manifest
from splitc.scratch import require_room

_MOST_DIRECTORY_BYTES = 16 * 2**20
_LONGEST_NAME = 255
_DEEPEST = 8
_MAX_SIGNATURE_BYTES = 16 * 2**20
_CHUNK = 2**20
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")


def unpack(
    file: str | Path, output: str | Path | None = None, *, max_bytes: int = DEFAULT_MAX_BYTES
) -> Bundle:
    """Write a packed bundle's folder, and check every file of it.

    The zip may be anyone's: names, sizes and kinds of its entries are held against each other
    and against the manifest in it before a byte is written, and no more is written than the
    manifest says. The folder is written beside its place and renamed when it is complete.

    Args:
        file: The zip.
        output: The folder; by default called after the zip, in the current one.
        max_bytes: Refuse what unpacks to more.

    Returns:
        The bundle.

    Raises:
        UsageError: There is no such file.
        BadBundleError: It is no zip of a bundle, or a hostile one.
        OutputError: The folder cannot be written, or holds something else.
    """
    path = Path(file)
    if not path.is_file():
        hint = "it is a bundle already" if (path / MANIFEST).is_file() else ""
        raise UsageError(f"there is no file '{file}'", hint=hint)
    name = path.name.removesuffix(".zip")
    target = Path(output if output is not None else name.removesuffix(SUFFIX) + SUFFIX)
    if output is None and target.resolve() == path.resolve():
        raise UsageError(f"'{file}' is in the place of its folder", hint="name another with -o")
    try:
        with path.open("rb") as data:
            _check_directory(data)
            with zipfile.ZipFile(data) as archive:
                _unpack(archive, target, max_bytes)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, struct.error) as error:
        _refuse(str(error) or "it is malformed")
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(f"cannot write '{target}'", why=why, hint="choose another -o") from error
    return Bundle.open(target)


def _refuse(why: str, at: str = "") -> NoReturn:
    raise BadBundleError("this is no packed bundle", at=at, why=why)


def _check_directory(data: BinaryIO) -> None:
    """Refuse a directory of entries that is too large to be read, before it is."""
    size = data.seek(0, 2)
    if size < _END.size:
        _refuse("it is no zip")
    data.seek(size - _END.size)
    mark, *_, directory, _offset, comment = _END.unpack(data.read(_END.size))
    if mark != b"PK\x05\x06" or comment:
        _refuse("it is no zip, or something follows it")
    if size >= _END.size + _LOCATOR.size:
        data.seek(size - _END.size - _LOCATOR.size)
        mark, _, at, _ = _LOCATOR.unpack(data.read(_LOCATOR.size))
        if mark == b"PK\x06\x07":
            data.seek(min(at, size))
            directory = _END_64.unpack(data.read(_END_64.size))[8]
    if directory > _MOST_DIRECTORY_BYTES:
        _refuse(f"its directory takes {directory:,} bytes")
    data.seek(0)


def _unpack(archive: zipfile.ZipFile, target: Path, max_bytes: int) -> None:
    found = _entries(archive)
    with beside(target) as folder:
        if MANIFEST not in found:
            _refuse(f"it has no {MANIFEST}")
        _write(archive, found[MANIFEST], folder / MANIFEST, MAX_MANIFEST_BYTES)
        manifest = read_manifest(folder, Manifest)
        _check_listed(manifest, found, max_bytes)
        require_room(folder, sum(entry.bytes for entry in manifest.files.values()))
        for name, entry in manifest.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            _write(archive, found[name], folder / name, entry.bytes)
        if SIGNATURE in found:
            _write(archive, found[SIGNATURE], folder / SIGNATURE, _MAX_SIGNATURE_BYTES)
        Bundle(folder, manifest).check()
        move_into_place(folder, target)


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files by their names below the one folder that all are in.

    Raises:
        BadBundleError: A name leads elsewhere, two are one on some file system, or something
            is no plain file.
    """
    found: dict[str, zipfile.ZipInfo] = {}
    kinds: dict[str, bool] = {}
    roots: set[str] = set()
    for info in archive.infolist():
        is_folder = info.filename.endswith("/")
        parts = _parts(info)
        roots.add(parts[0])
        for depth in range(1, len(parts) + 1):
            # What differs in case alone, or in how letters are put together, is one file on
            # the file systems of other machines.
            name = unicodedata.normalize("NFC", "/".join(parts[:depth])).casefold()
            is_file = depth == len(parts) and not is_folder
            if name in kinds and (is_file or kinds[name]):
                _refuse("two entries have one name, or differ in case alone", info.filename)
            kinds[name] = is_file
        if not is_folder:
            found["/".join(parts[1:])] = info
    if len(roots) != 1 or "" in found:
        _refuse("its files are not in one folder")
    _check_case([*found])
    return found


def _check_case(names: list[str]) -> None:
    """Folders whose names differ in case alone would be one as well."""
    folders = {name.rpartition("/")[0] for name in names}
    every = {"/".join(f.split("/")[: k + 1]) for f in folders for k in range(f.count("/") + 1)}
    if len({unicodedata.normalize("NFC", one).casefold() for one in every}) < len(every):
        _refuse("two folders differ in case alone")


def _parts(info: zipfile.ZipInfo) -> list[str]:
    """The names of an entry's folders and its own.

    Raises:
        BadBundleError: They lead out of the folder, or it is no plain file.
    """
    name, shown = info.orig_filename, info.filename[:80]
    parts = name.rstrip("/").split("/") if not name.endswith("//") else [""]
    plain = all(
        part not in ("", ".", "..") and part.isprintable() and "\\" not in part and ":" not in part
        and len(part.encode("utf-8", "replace")) <= _LONGEST_NAME
        for part in parts
    )  # fmt: skip
    if not plain or len(parts) > _DEEPEST:
        _refuse("the name leads elsewhere, or cannot be one", repr(shown))
    if info.external_attr >> 28 not in (0, 0o04, 0o10):
        _refuse("it is a link or a device, no plain file", repr(shown))
    if info.flag_bits & 0x1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        _refuse("it is encrypted, or compressed in an unusual way", repr(shown))
    return parts


def _check_listed(manifest: Manifest, found: dict[str, zipfile.ZipInfo], max_bytes: int) -> None:
    """The entries are the files that the manifest lists, of their sizes, and not too many bytes.

    Raises:
        BadBundleError: They are not.
    """
    files = manifest.files
    for name in sorted(files.keys() | found.keys() - {MANIFEST, SIGNATURE}):
        if name not in found:
            raise BadBundleError(f"'{name}' is missing in the zip")
        if name not in files:
            raise BadBundleError(f"'{name}' is in the zip, and not in the manifest")
        if files[name].bytes != found[name].file_size:
            why = f"it has {found[name].file_size:,}, the manifest says {files[name].bytes:,}"
            raise BadBundleError(f"'{name}' has another size in the zip", why=why)
    total = sum(entry.bytes for entry in files.values())
    if total > max_bytes:
        why = f"{total:,} bytes, the limit is {max_bytes:,}"
        raise BadBundleError("the bundle is too large", why=why, hint="--max-bytes allows more")


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, most: int) -> None:
    """Write an entry, no more than so many bytes of it.

    Raises:
        BadBundleError: It has more.
    """
    left = most
    with archive.open(info) as data, path.open("xb") as out:
        while chunk := data.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                _refuse(f"it has more than {most:,} bytes", info.filename[:80])
            out.write(chunk)
    path.chmod(0o755 if info.external_attr >> 16 & 0o100 else 0o644)
