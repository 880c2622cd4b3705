# SPDX-License-Identifier: Apache-2.0
"""Values to calibrate a codec with, out of an .npz file."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from splitc.arrays import Array
from splitc.errors import UsageError, nearest
from splitc.ir.graph import Tensor

DEFAULT_MAX_BYTES = 8 * 2**30
_LABELS = ("labels", "y")


def read_batches(
    path: str | Path, inputs: Sequence[Tensor], *, max_bytes: int = DEFAULT_MAX_BYTES
) -> list[dict[str, Array]]:
    """Inputs of a network out of an .npz file, arrays under the inputs' names.

    An array has its input's shape, or that with one more axis in front, along which the
    samples lie; where the input's own first extent is 1, that may be the axis. Labels may lie
    beside them.

    Args:
        path: The file. Pickled content is refused.
        inputs: The network's inputs.
        max_bytes: Refuse files that unpack to more.

    Returns:
        One mapping for each sample, arrays of the inputs' shapes and element types.

    Raises:
        UsageError: No such file, or what is in it does not fit the inputs.
    """
    arrays = _arrays(path, max_bytes)
    for name in _label_names(inputs):
        arrays.pop(name, None)
    names = [tensor.name for tensor in inputs]
    for name in arrays.keys() - set(names):
        raise UsageError(f"'{path}': there is no input '{name}'", hint=nearest(name, names))
    stacked = {tensor.name: _stacked(path, tensor, arrays) for tensor in inputs}
    counts = {len(array) for array in stacked.values()}
    if len(counts) != 1 or 0 in counts:
        raise UsageError(f"'{path}': the inputs hold different numbers of samples, or none")
    return [{name: array[k] for name, array in stacked.items()} for k in range(counts.pop())]


def read_labels(
    path: str | Path, inputs: Sequence[Tensor], samples: int, *, max_bytes: int = DEFAULT_MAX_BYTES
) -> Array | None:
    """The right classes of the samples in an .npz file: its array `labels` or `y`.

    Args:
        path: The file.
        inputs: The network's inputs; an array under the name of one holds no labels.
        samples: How many samples there are.
        max_bytes: Refuse files that unpack to more.

    Returns:
        Whole numbers, samples along the first axis; None where there are none.

    Raises:
        UsageError: No such file, or labels that are none.
    """
    arrays = _arrays(path, max_bytes)
    name = next((name for name in _label_names(inputs) if name in arrays), None)
    if name is None:
        return None
    found = arrays[name]
    if samples == 1 and len(found.shape) and len(found) != 1:
        found = found[None]
    if found.dtype.kind not in "iu" or found.ndim == 0 or len(found) != samples:
        given = f"{'x'.join(map(str, found.shape)) or 'a scalar'} {found.dtype.name}"
        why = f"it is {given}, there are {samples} samples"
        hint = "whole numbers, one sample's along the first axis"
        raise UsageError(f"'{path}': the array '{name}' holds no labels", why=why, hint=hint)
    return found


def _label_names(inputs: Sequence[Tensor]) -> list[str]:
    """What labels may be called beside these inputs."""
    taken = {tensor.name for tensor in inputs}
    return [name for name in _LABELS if name not in taken]


def _arrays(path: str | Path, max_bytes: int) -> dict[str, Array]:
    """Every array of an .npz file by its name."""
    if not Path(path).is_file():
        raise UsageError(f"there is no file '{path}'")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > max_bytes:
            why = f"it unpacks to {size:,} bytes, the limit is {max_bytes:,}"
            raise UsageError(f"'{path}' is too large", why=why)
        with np.load(path, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        hint = "write it with numpy.savez(FILE, NAME=ARRAY)"
        raise UsageError(f"'{path}' is no .npz file", why=str(error)[:200], hint=hint) from error


def _stacked(path: str | Path, tensor: Tensor, arrays: dict[str, Array]) -> Array:
    """The samples of one input along a first axis of their own."""
    if tensor.name not in arrays:
        raise UsageError(f"'{path}': no array for input '{tensor.name}'")
    array, shape = arrays[tensor.name], tensor.static_shape
    if array.dtype.name == tensor.dtype:
        if array.shape == shape:
            return array[None]
        if array.ndim and array.shape[1:] == shape:
            return array
        if shape and shape[0] == 1 and array.shape[1:] == shape[1:]:
            return array[:, None]
    given = f"{'x'.join(map(str, array.shape))} {array.dtype.name}"
    wanted = f"{'x'.join(map(str, shape))} {tensor.dtype}"
    raise UsageError(
        f"'{path}': the array for input '{tensor.name}' does not fit",
        why=f"it is {given}, the network takes {wanted}, or several of that",
    )
