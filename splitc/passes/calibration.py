# SPDX-License-Identifier: Apache-2.0
"""Values to calibrate a codec with, out of an .npz file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from splitc.array_files import (
    DEFAULT_MAX_BYTES,
    along_samples,
    arrays_of,
    common_count,
    headers_of,
    labels_of,
)
from splitc.arrays import Array
from splitc.ir.graph import Tensor


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
    file = Path(path)
    count = common_count(file, inputs, headers_of(file, max_bytes=max_bytes))
    arrays = arrays_of(file, [tensor.name for tensor in inputs])
    stacked = {tensor.name: along_samples(tensor, arrays[tensor.name]) for tensor in inputs}
    return [{name: array[k] for name, array in stacked.items()} for k in range(count)]


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
    file = Path(path)
    headers = headers_of(file, max_bytes=max_bytes)
    return labels_of(file, [tensor.name for tensor in inputs], headers, samples)
