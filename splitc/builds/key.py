# SPDX-License-Identifier: Apache-2.0
"""The key of a build: a digest of everything that its bytes hang on, and of nothing else."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from splitc.builds.entry import Entry
from splitc.builds.inputs import Inputs
from splitc.cost.board import DETECT, host_isa, load_board, x86_features, x86_level
from splitc.frontend.userfile import is_python
from splitc.plugins import GROUP
from splitc.version import __version__

_CODE = ("splitc", "splitc_passes", "splitc_targets")
_TOOLS = (
    "apache-tvm", "networkx", "numpy", "onnx", "onnxruntime", "onnxsim", "torch", "ziglang",
)  # fmt: skip
"""Distributions that shape a bundle's bytes."""

NOT_KNOWN = "a Python file is run, and what it reads is not known"


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a bundle is built from. Two builds of equal keys give the same bytes.

    Args:
        model: Digest of the model's files.
        data: Digest of the other files that the options name.
        options: The options that are not at their defaults, paths as file names.
        boards: Digest of both boards, as they are resolved on this machine.
        splitc: Its version and the digest of its code.
        tools: Versions of the packages that shape the bytes, and of other packs.
        machine: This machine's instruction set: golden vectors and twins are made here.
        epoch: SOURCE_DATE_EPOCH.
    """

    model: str
    data: str
    options: dict[str, Any]
    boards: str
    splitc: str
    tools: dict[str, str]
    machine: str
    epoch: str

    @property
    def digest(self) -> str:
        """Sha256 of it all, in hexadecimal."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    def differs(self, before: Key) -> str:
        """What is not as it was, in words."""
        names = {
            "model": "the model", "data": "a file of data", "boards": "a board", "splitc": "splitc",
            "machine": "the processor", "epoch": "SOURCE_DATE_EPOCH",
        }  # fmt: skip
        mine, theirs = msgspec.to_builtins(self), msgspec.to_builtins(before)
        changed = [text for name, text in names.items() if mine[name] != theirs[name]]
        tools = _changed(self.tools, before.tools)
        options = [name.replace("_", "-") for name in _changed(self.options, before.options)]
        return ", ".join([*changed, *options, *tools]) + " changed"


def _changed(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def key_of(entry: Entry, inputs: Inputs) -> Key | None:
    """The key of an entry; None where its inputs cannot be known: see `NOT_KNOWN`.

    Raises:
        UsageError: A file or a board is not there, or is malformed.
    """
    options = entry.options
    if is_python(options.model):
        return None
    boards = [_board(name) for name in (options.target, options.tail_target)]
    return Key(
        model=inputs.digest(entry.model),
        data=inputs.digest(*entry.data),
        options=options.given(entry.folder),
        boards=hashlib.sha256(b"\n".join(boards)).hexdigest(),
        splitc=f"{__version__} {code_digest()}",
        tools=tool_versions(),
        machine=machine(),
        epoch=os.environ.get("SOURCE_DATE_EPOCH", ""),
    )


def together(keys: Iterable[Key | None]) -> str:
    """One digest of several builds, whatever their order."""
    digests = sorted(key.digest for key in keys if key is not None)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _board(name: str) -> bytes:
    return msgspec.json.encode(load_board(name), order="sorted")


@functools.cache
def code_digest() -> str:
    """Sha256 of splitc's own files, by name and content: the version alone does not tell."""
    found = hashlib.sha256()
    for package in _CODE:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(Path(folder).rglob("*")):
                if path.suffix != ".pyc" and path.is_file():
                    data = path.read_bytes()
                    found.update(f"{path.relative_to(folder)} {len(data)}\n".encode())
                    found.update(data)
    return found.hexdigest()


@functools.cache
def tool_versions() -> dict[str, str]:
    """Versions of the packages that shape a bundle's bytes, other packs' among them."""
    packs = {each.dist.name for each in entry_points(group=GROUP) if each.dist is not None}
    found: dict[str, str] = {}
    for name in sorted({*_TOOLS, *packs} - {"splitc"}):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def machine() -> str:
    """This machine's instruction set, its level and what it has beside."""
    level = x86_level()
    return " ".join((host_isa(), level or DETECT, *(x86_features(level) if level else ())))
