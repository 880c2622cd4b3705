# SPDX-License-Identifier: Apache-2.0
"""Samples of a network's inputs in .npy and .npz files: what is there, and whether it fits."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from splitc.arrays import Array
from splitc.errors import UsageError, nearest

DEFAULT_MAX_BYTES = 8 * 2**30
_LABELS = ("labels", "y")
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Form(Protocol):
    """What an input takes: a tensor of a graph, or of a contract."""

    @property
    def name(self) -> str:
        """The input's name."""
        ...

    @property
    def dtype(self) -> str:
        """numpy's name of the element type."""
        ...

    @property
    def shape(self) -> Sequence[int | None] | None:
        """Extents, all known."""
        ...


@dataclass(frozen=True)
class Header:
    """What the header of an array says, before any of it is read.

    Args:
        shape: Its extents.
        dtype: Its element type.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{'x'.join(map(str, self.shape)) or 'a scalar'} {self.dtype.name}"


def headers_of(path: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> dict[str, Header]:
    """What is in a file: arrays by name of an .npz file, the one of an .npy file as "".

    Raises:
        UsageError: There is no such file, it is neither, or it unpacks to more than the limit.
    """
    if not path.is_file():
        raise UsageError(f"there is no file '{path}'")
    try:
        if path.suffix == ".npy":
            with path.open("rb") as file:
                return {"": _header(file, path.stat().st_size)}
        with zipfile.ZipFile(path) as archive:
            entries = {e.filename.removesuffix(".npy"): e for e in archive.infolist()}
            size = sum(entry.file_size for entry in entries.values())
            if size > max_bytes:
                why = f"it unpacks to {size:,} bytes, the limit is {max_bytes:,}"
                raise UsageError(f"'{path}' is too large", why=why)
            found: dict[str, Header] = {}
            for name, entry in entries.items():
                with archive.open(entry) as file:
                    found[name] = _header(file, entry.file_size)
            return found
    except _BROKEN as error:
        raise _malformed(path, error) from error


_BROKEN = (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError)
"""What numpy and zipfile raise for files that are none of theirs, encrypted ones among them."""


def _malformed(path: Path, error: Exception) -> UsageError:
    kind = path.suffix if path.suffix == ".npy" else ".npz"
    saved = "save(FILE, ARRAY)" if kind == ".npy" else "savez(FILE, NAME=ARRAY)"
    hint = f"write it with numpy.{saved}"
    return UsageError(f"'{path}' is no {kind} file", why=str(error)[:200], hint=hint)


def _header(file: IO[bytes], size: int) -> Header:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"an array of version {version} of the format")
    shape, _, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects")
    if file.tell() + math.prod(shape) * dtype.itemsize > size:
        raise ValueError("it is shorter than its header says")
    return Header(shape, dtype)


def arrays_of(path: Path, names: Collection[str]) -> dict[str, Array]:
    """Arrays of a file whose headers were read, in this machine's byte order.

    That of an .npy file is mapped, not read.

    Raises:
        UsageError: The file is damaged.
    """
    try:
        if path.suffix == ".npy":
            array = np.load(path, mmap_mode="r" if path.stat().st_size else None)
            return {"": _native(array)}
        with np.load(path, allow_pickle=False) as found:
            return {name: _native(found[name]) for name in names}
    except _BROKEN as error:
        raise _malformed(path, error) from error


def _native(array: Array) -> Array:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def sample_count(path: Path, one: Form, header: Header) -> int:
    """How many samples of an input an array holds.

    It has the input's shape, or that with one more axis in front, along which samples lie;
    where the input's own first extent is 1, that may be the axis.

    Raises:
        UsageError: It does not fit the input.
    """
    shape = tuple(one.shape or ())
    if header.dtype.name == one.dtype:
        if header.shape == shape:
            return 1
        along_first = bool(shape) and shape[0] == 1 and header.shape[1:] == shape[1:]
        if header.shape and (header.shape[1:] == shape or along_first):
            return header.shape[0]
    wanted = f"{'x'.join(map(str, shape)) or 'a scalar'} {one.dtype}"
    raise UsageError(
        f"'{path}': the array for input '{one.name}' does not fit",
        why=f"it is {header}, the network takes {wanted}, or several of that",
    )


def along_samples(one: Form, array: Array) -> Array:
    """An array that fits an input, its samples along one more axis in front."""
    return array.reshape(-1, *(extent or 0 for extent in one.shape or ()))


def common_count(path: Path, forms: Sequence[Form], headers: Mapping[str, Header]) -> int:
    """How many samples of a network's inputs a file with arrays under their names holds.

    Labels may lie beside them.

    Raises:
        UsageError: An input has no array, there is another, or they do not go together.
    """
    names = [one.name for one in forms]
    for name in headers.keys() - {*names, *label_names(names)}:
        raise UsageError(f"'{path}': there is no input '{name}'", hint=nearest(name, names))
    for name in names:
        if name not in headers:
            raise UsageError(f"'{path}': no array for input '{name}'")
    counts = {sample_count(path, one, headers[one.name]) for one in forms}
    if len(counts) != 1 or 0 in counts:
        raise UsageError(f"'{path}': the inputs hold different numbers of samples, or none")
    return counts.pop()


def label_names(inputs: Collection[str]) -> list[str]:
    """What labels may be called beside inputs of these names."""
    return [name for name in _LABELS if name not in inputs]


def labels_of(
    path: Path, inputs: Collection[str], headers: Mapping[str, Header], samples: int
) -> Array | None:
    """The right classes of the samples in a file: its array `labels` or `y`.

    Returns:
        Whole numbers, samples along the first axis; None where there are none.

    Raises:
        UsageError: What is called so is no labels.
    """
    name = next((name for name in label_names(inputs) if name in headers), None)
    if name is None:
        return None
    found = arrays_of(path, [name])[name]
    if samples == 1 and len(found.shape) and len(found) != 1:
        found = found[None]
    if found.dtype.kind not in "iu" or found.ndim == 0 or len(found) != samples:
        why = f"it is {headers[name]}, there are {samples} samples"
        hint = "whole numbers, one sample's along the first axis"
        raise UsageError(f"'{path}': the array '{name}' holds no labels", why=why, hint=hint)
    return found
