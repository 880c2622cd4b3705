# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Labelled samples to evaluate on: out of files, or of the function that finetune takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from splitc.arrays import Arrays
from splitc.errors import DataError, UsageError
from splitc.ir.graph import Tensor
from splitc.runtime.inputs import read_inputs
from splitc.runtime.manifest import TensorSpec

if TYPE_CHECKING:
    from splitc.finetune.data import Batches


@dataclass(frozen=True)
class Samples:
    """Frames and the right class of each.

    Args:
        frames: Arrays by input name.
        labels: As many whole numbers.
    """

    frames: Sequence[Arrays]
    labels: Sequence[int]


def read_samples(
    path: str | Path, inputs: Sequence[TensorSpec], *, most: int | None = None
) -> Samples:
    """Samples in files: arrays by input name, and `labels` or `y`.

    Args:
        path: FILE.npz, or a folder with such.
        inputs: The network's inputs.
        most: How many at most.

    Raises:
        UsageError: There is no such file, it does not fit the inputs, or has no labels.
    """
    frames = read_inputs(path, inputs)
    labels = frames.labels
    if labels is None:
        hint = "put the right class of each frame into the .npz, as 'labels'"
        raise UsageError(f"'{path}' has no labels", hint=hint)
    if labels.ndim != 1:
        raise UsageError(f"'{path}': the labels are {labels.shape}", hint="one number a frame")
    return Samples(frames[: most or len(frames)], [int(one) for one in labels[:most]])


def samples_of(
    batches: Batches, inputs: Sequence[TensorSpec], *, most: int | None = None,
    which: str = "validate",
) -> Samples:  # fmt: skip
    """Samples of batches (inputs, targets), as `splitc finetune` validates on.

    Args:
        batches: A list, a `DataLoader`, or a function of the epoch.
        inputs: The network's inputs, for one sample.
        most: How many samples at most.
        which: What to call them in errors.

    Raises:
        DataError: They are not what the network takes, or the targets are no classes.
        UsageError: The network takes several samples a call.
    """
    import torch

    from splitc.finetune.data import read, split

    if any(not spec.shape or spec.shape[0] != 1 for spec in inputs):
        raise UsageError("a frame of the network is more than a sample, or has no batch extent")
    entries = [Tensor(spec.name, spec.shape, spec.dtype) for spec in inputs]
    frames: list[Arrays] = []
    labels: list[int] = []
    for batch in read(batches, which, 0 if which == "validate" else 1):
        given, targets = split(batch, which, entries, torch.device("cpu"))
        labels += _classes(targets, len(given[0]), which)
        arrays = [one.numpy() for one in given]
        frames += [
            {spec.name: array[k : k + 1] for spec, array in zip(inputs, arrays, strict=True)}
            for k in range(len(arrays[0]))
        ]
        if most is not None and len(frames) >= most:
            break
    if not frames:
        raise DataError(f"{which} is empty", why="there is no sample in it")
    return Samples(list(islice(frames, most)), labels[:most])


def _classes(targets: Any, count: int, which: str) -> list[int]:
    """Class numbers of a batch; of shares of the classes the largest."""
    import torch

    if isinstance(targets, torch.Tensor) and targets.is_floating_point() and targets.ndim == 2:
        targets = targets.argmax(1)
    if not isinstance(targets, torch.Tensor) or tuple(targets.shape) != (count,):
        why = "accuracy is of one class number a sample"
        raise DataError(f"{which}: the targets are no classes", why=why)
    return [int(one) for one in targets.tolist()]
