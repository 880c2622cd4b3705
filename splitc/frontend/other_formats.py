# SPDX-License-Identifier: Apache-2.0
"""Files and folders that are no network splitc reads: told by what they are, with what to do."""

from __future__ import annotations

import os
from pathlib import Path

from splitc.errors import BadModelError, SplitcError, UsageError

_EXPORT = (
    "from the module: torch.export.save(torch.export.export(module.eval(), (example,)), "
    "'net.pt2'); or splitc.load(module, (example,)) in Python"
)
_TO_ONNX = "convert it to ONNX, and give that file"
_MAGIC = {
    b"\x89HDF\r\n\x1a\n": ("a Keras (HDF5) model", _TO_ONNX + ": pip install tf2onnx"),
    b"GGUF": ("a GGUF file of weights", "give the network that they are of, as ONNX or .pt2"),
}
_SUFFIXES = {
    ".safetensors": ("weights alone (safetensors)", _EXPORT),
    ".h5": _MAGIC[b"\x89HDF\r\n\x1a\n"],
    ".keras": ("a Keras model", _TO_ONNX + ": pip install tf2onnx"),
    ".ckpt": ("a checkpoint", _EXPORT),
}
_ENDS = 2**20
"""Bytes that are looked at, at the beginning and at the end: a zip's list of names is there."""


def refuse_file(path: Path) -> None:
    """Raise where a file is of a format that splitc knows and does not read. Opens nothing in it.

    Raises:
        BadModelError: What it is, and what to do.
        UsageError: It is a packed bundle.
    """
    first = _ends(path)
    if first.startswith(b"PK"):
        _refuse_zip(path, first)
    elif first.startswith(b"\x80") and first[1:2] in b"\x02\x03\x04\x05":
        raise _pickle(path)
    elif first[4:8] == b"TFL3":
        raise _is(path, "a TensorFlow Lite model", _TO_ONNX + ": pip install tf2onnx")
    for magic, (what, hint) in _MAGIC.items():
        if first.startswith(magic):
            raise _is(path, what, hint)
    if path.suffix in _SUFFIXES:
        raise _is(path, *_SUFFIXES[path.suffix])


def is_exported_program(path: Path) -> bool:
    """Whether a file says of itself that torch.export wrote it, whatever it is called."""
    names = _ends(path)
    return names.startswith(b"PK") and b"/archive_format" in names


def refuse_folder(path: Path) -> SplitcError:
    """The error for a folder that is no fine-tuned network."""
    if (path / "manifest.json").is_file():
        name = path.name or str(path)
        if (path / "head").is_dir() or (path / "tail").is_dir():
            hint = f"give the file that it was compiled from; `splitc inspect {path}` shows it"
            return UsageError(f"'{path}' is a bundle, compiled already, and no network", hint=hint)
        return UsageError(f"'{name}' is a part of a bundle, and no network")
    if (path / "saved_model.pb").is_file():
        return _is(path, "a TensorFlow SavedModel", _TO_ONNX + ": pip install tf2onnx")
    with os.scandir(path) as entries:
        models = sorted(e.name for e in entries if e.name.endswith((".onnx", ".pt2")))[:3]
    hint = "give an ONNX file, a .pt2 file, or a folder that splitc finetune wrote"
    if models:
        hint = "give the file in it: " + ", ".join(str(path / name) for name in models)
    return UsageError(f"there is no file '{path}'", why="it is a folder", hint=hint)


def _ends(path: Path) -> bytes:
    """A file's beginning and its end."""
    with path.open("rb") as file:
        first = file.read(_ENDS)
        file.seek(max(len(first), path.stat().st_size - _ENDS))
        return first + file.read(_ENDS)


def _refuse_zip(path: Path, names: bytes) -> None:
    """Raise by what a zip's list of names says; PyTorch's own files are zips too."""
    if b"/archive_format" in names or b"models/model.json" in names:
        return
    if b"/constants.pkl" in names:
        raise _is(path, "TorchScript", f"export the module that it was made of: {_EXPORT}")
    if b"/data.pkl" in names:
        raise _pickle(path)
    if b"/manifest.json" in names and b"/head/" in names:
        hint = "unpack it; cuts are looked for in the model it was compiled from"
        raise UsageError(f"'{path.name}' is a packed bundle, and no network", hint=hint)
    if path.suffix not in (".pt2", ".onnx", *_SUFFIXES):
        raise _is(path, "a zip file", "give an ONNX file or a .pt2 file of torch.export")


def _pickle(path: Path) -> BadModelError:
    return BadModelError(
        f"{path.name} is a file of torch.save: weights, or a pickled module",
        why="weights alone are no network, and opening a pickle runs what is in it",
        hint=f"export it {_EXPORT}",
    )


def _is(path: Path, what: str, hint: str) -> BadModelError:
    return BadModelError(f"{path.name} is {what}, which splitc does not read", hint=hint)
