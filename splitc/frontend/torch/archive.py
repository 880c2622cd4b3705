# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""What a `.pt2` file may hold, checked before PyTorch reads it.

PyTorch trusts such files: it unpickles objects, loads compiled code, evaluates formulas of
extents, imports classes of containers and writes the names it finds into Python that it
runs. So a file is held against what a plain program with plain tensors needs.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

from torch.export.pt2_archive import PT2ArchiveReader

from splitc.errors import BadModelError

_ENTRIES = re.compile(
    r"models/model\.json|data/sample_inputs/model\.pt"
    r"|data/weights/(model_weights_config\.json|weight_\d+)"
    r"|data/constants/(model_constants_config\.json|tensor_\d+)"
    r"|archive_format|archive_version|byteorder|version|\.data/[\w.-]+|\.format_version"
    r"|\.storage_alignment|extra/[\w.-]+"
)
_CALLS = re.compile(r"torch\.ops\.\w+\.\w+(\.\w+)?|_operator\.\w+|math\.\w+")
_PLAIN = re.compile(r"[\w .,:/+<>@$%&*|~?!-]*")
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
_OPEN_EXTENT = re.compile(r"Symbol\('s[0-9]{1,9}', positive=True, integer=True\)")
"""The one formula that is read: an extent that is open, with nothing computed of it."""

_FREE_TEXT = ("metadata", "guards_code", "as_string", "as_strings")
"""Keys of text that never gets into code as it stands: guards are not used."""

_MOST_TEXT = 2**28
_CHUNK = 2**20


def check_archive(path: Path, max_bytes: int) -> None:
    """Raise where a file holds what splitc does not read.

    Raises:
        BadModelError: Names the entry and what is wrong with it.
        zipfile.BadZipFile, OSError: It is no zip file.
        RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError: It is
            not one that PyTorch has written.
    """
    with zipfile.ZipFile(path) as archive:
        names = _entry_names(archive, max_bytes)
        for entry in archive.infolist():
            _check_sum(archive, entry)
    reader: Any = PT2ArchiveReader(str(path))
    if sorted(reader.get_file_names()) != sorted(names):
        raise BadModelError("the file can be read in two ways", at=path.name)
    for name in names:
        if name.endswith(".pt"):
            _check_size(io.BytesIO(reader.read_bytes(name)), max_bytes)
        elif name.endswith("_config.json"):
            _check_tensors(json.loads(reader.read_string(name)), max_bytes)
        elif name.endswith(".json"):
            _check_program(json.loads(reader.read_string(name)))


def _entry_names(archive: zipfile.ZipFile, max_bytes: int) -> list[str]:
    """Names inside the archive's one folder, as PyTorch has them."""
    found: list[str] = []
    _refuse_large(archive, max_bytes)
    for entry in archive.infolist():
        name = entry.filename.partition("/")[2]
        if name in found:
            raise BadModelError(f"the file holds '{entry.filename[:80]}' twice")
        if not _ENTRIES.fullmatch(name) or entry.filename.startswith(("..", "/")):
            why = "splitc reads one program with its tensors, and nothing else"
            hint = "torch.export.save(torch.export.export(module, examples), path) writes one"
            raise BadModelError(f"the file holds '{entry.filename[:80]}'", why=why, hint=hint)
        if name.endswith(".json") and entry.file_size > _MOST_TEXT:
            raise BadModelError("the program is too large", at=entry.filename)
        found.append(name)
    return found


def _check_sum(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Raise where an entry is not what the archive says: PyTorch does not look."""
    try:
        with archive.open(entry) as data:
            while data.read(_CHUNK):
                pass
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        why = "its bytes are not those that the archive's checksum is of"
        hint = "the file was damaged or altered: take a fresh copy"
        raise BadModelError(
            f"entry '{entry.filename}' of '{Path(archive.filename or '').name}' is damaged",
            why=why, hint=hint,
        ) from error  # fmt: skip


def _refuse_large(archive: zipfile.ZipFile, max_bytes: int) -> None:
    total = sum(entry.file_size for entry in archive.infolist())
    if total > max_bytes:
        why = f"it unpacks to {total:,} bytes, the limit is {max_bytes:,}"
        raise BadModelError("the file is too large", why=why, hint="raise it with --max-bytes")


def _check_size(data: io.BytesIO, max_bytes: int) -> None:
    """Saved tensors are a zip file too, or a pickle, which PyTorch is told to refuse."""
    if zipfile.is_zipfile(data):
        with zipfile.ZipFile(data) as archive:
            _refuse_large(archive, max_bytes)


def _check_tensors(value: Any, max_bytes: int) -> None:
    for name, each in value["config"].items():
        _check_name(name)
        if each["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", each["path_name"]):
            why = "to unpickle is to run what the file says"
            raise BadModelError(f"'{name}' is pickled", why=why)
        extents = [int(n["as_int"]) for n in each["tensor_meta"]["sizes"]]
        if math.prod(extents) > max_bytes:
            shown = "x".join(map(str, extents))
            why = f"it is declared as {shown}, the limit is {max_bytes:,} bytes"
            raise BadModelError(f"'{name}' is too large", why=why)


def _check_program(value: Any, key: str = "") -> None:
    """Raise where text of a program would be run, or get into code."""
    if isinstance(value, list):
        for each in value:
            _check_program(each, key)
    elif isinstance(value, dict):
        for name, each in value.items():
            _check_name(name)
            if name not in _FREE_TEXT:
                _check_program(each, name)
    elif isinstance(value, str):
        _check_text(value, key)


def _check_text(text: str, key: str) -> None:
    if key == "expr_str":
        # PyTorch hands it to sympy, which evaluates it as Python.
        if not _OPEN_EXTENT.fullmatch(text):
            why = "it computes with an open extent, and splitc evaluates no formula of a file"
            hint = "export it without dynamic_shapes"
            raise BadModelError("the program has dynamic extents", at=text[:80], why=why, hint=hint)
        return
    if key == "target" and not _CALLS.fullmatch(text):
        why = "splitc runs operators of PyTorch's own only"
        raise BadModelError(f"the program calls '{text[:80]}'", why=why)
    if key in ("in_spec", "out_spec"):
        _check_container(json.loads(text)[1])
    elif key in ("name", "forward_arg_names"):
        _check_name(text, re.compile(r"\w*"))
    else:
        _check_name(text)


def _check_name(name: str, form: re.Pattern[str] = _PLAIN) -> None:
    if not form.fullmatch(name):
        why = "PyTorch would write it into code that it runs"
        raise BadModelError(f"the program has a name that is none: {name[:80]!r}", why=why)


def _check_container(spec: Any) -> None:
    """What arguments or results stand in: tuples, lists and dicts with text for keys."""
    context = json.loads(spec["context"] or "null")
    keys: list[Any] = context if isinstance(context, list) else []
    if spec["type"] not in _CONTAINERS or context not in (None, keys):
        hint = "let forward take and give tensors in tuples, lists and dicts"
        raise BadModelError(f"a class holds tensors: {spec['type']}", hint=hint)
    for each in keys:
        _check_name(str(each))
    for each in spec["children_spec"]:
        _check_container(each)
