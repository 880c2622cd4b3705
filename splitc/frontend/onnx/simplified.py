# SPDX-License-Identifier: Apache-2.0
"""Large networks that onnxsim has been through, kept: most of the time of reading one is its."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto

from splitc.cache import cache_dir
from splitc.scratch import owned

WORTH_BYTES = 2**20
"""Smaller networks take no time that one would notice."""
_MOST_BYTES = 2 * 2**30
"""What all that is kept may take; what was not used for longest goes."""
_MODEL, _SHA256 = "model.onnx", "sha256"


def key_of(digest: str, inputs: Mapping[str, Sequence[int]]) -> str:
    """What a simplified network hangs on.

    Args:
        digest: Sha256 of the network as it was given.
        inputs: Extents that inputs were fixed to.
    """
    fixed = json.dumps({name: list(shape) for name, shape in inputs.items()}, sort_keys=True)
    return hashlib.sha256(f"{digest}\n{fixed}\n{_makers()}".encode()).hexdigest()


@cache
def _makers() -> str:
    """What makes it: the packages, and the files of this folder."""
    found = hashlib.sha256(f"{version('onnx')} {version('onnxsim')}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


def take(key: str) -> ModelProto | None:
    """The simplified network of that key; None where there is none, or another one than was put
    there."""
    place = _folder() / key
    try:
        data = (place / _MODEL).read_bytes()
        if hashlib.sha256(data).hexdigest() == (place / _SHA256).read_text("ascii"):
            os.utime(place)
            return ModelProto.FromString(data)
    except (OSError, DecodeError, UnicodeDecodeError):
        pass
    shutil.rmtree(place, ignore_errors=True)
    return None


def keep(key: str, data: bytes) -> None:
    """Keep a simplified network, as long as there is room; where it cannot be, it is not."""
    with suppress(OSError):
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        _make_room(folder, len(data))
        with owned(folder) as beside:
            (beside / _MODEL).write_bytes(data)
            (beside / _SHA256).write_text(hashlib.sha256(data).hexdigest(), "ascii")
            beside.rename(folder / key)


def _make_room(folder: Path, wanted: int) -> None:
    kept = [path for path in folder.iterdir() if (path / _MODEL).is_file()]
    kept.sort(key=lambda path: path.stat().st_mtime)
    taken = wanted + sum((path / _MODEL).stat().st_size for path in kept)
    for path in kept:
        if taken <= _MOST_BYTES:
            return
        taken -= (path / _MODEL).stat().st_size
        shutil.rmtree(path, ignore_errors=True)


def _folder() -> Path:
    return cache_dir() / "simplified"
