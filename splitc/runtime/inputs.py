# SPDX-License-Identifier: Apache-2.0
"""What a network is run on: frames out of files, one at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import overload

import numpy as np

from splitc.array_files import (
    Header,
    along_samples,
    arrays_of,
    common_count,
    headers_of,
    labels_of,
)
from splitc.arrays import Array
from splitc.errors import UsageError
from splitc.runtime.images import SUFFIXES, image_input, read_image
from splitc.runtime.manifest import TensorSpec

Frame = dict[str, Array]
"""A value of every input, by its name."""


@dataclass(frozen=True)
class _File:
    """A file with frames: arrays under the inputs' names, or the one array of one input.

    An image has no arrays, and is one frame.
    """

    path: Path
    headers: dict[str, Header]
    frames: int

    def load(self, specs: Sequence[TensorSpec]) -> Frame:
        """Its arrays, frames along one more axis in front."""
        if self.path.suffix.lower() in SUFFIXES:
            return {specs[0].name: read_image(self.path, specs[0])[np.newaxis]}
        if "" in self.headers:
            return {specs[0].name: along_samples(specs[0], arrays_of(self.path, [""])[""])}
        arrays = arrays_of(self.path, [spec.name for spec in specs])
        return {spec.name: along_samples(spec, arrays[spec.name]) for spec in specs}


class Inputs(Sequence[Frame]):
    """Frames of a network's inputs, each read when it is asked for.

    Args:
        specs: The inputs.
        files: Where the frames are, in order.
    """

    def __init__(self, specs: Sequence[TensorSpec], files: Sequence[_File]) -> None:
        self._specs = specs
        self._files = files
        self._ends = [*accumulate(file.frames for file in files)]
        self._loaded: tuple[int, Frame] = (-1, {})

    @property
    def single(self) -> bool:
        """Whether it is one frame, given as such, with no axis for several."""
        if len(self) > 1:
            return False
        return all(
            len(header.shape) <= len(spec.shape)
            for spec in self._specs
            for name, header in self._files[0].headers.items()
            if name in ("", spec.name)
        )

    @property
    def labels(self) -> Array | None:
        """The right class of each frame, where the files tell it: `labels` or `y` of an .npz.

        Raises:
            UsageError: What is called so is no labels.
        """
        names = [spec.name for spec in self._specs]
        found = [labels_of(f.path, names, f.headers, f.frames) for f in self._files]
        known = [labels for labels in found if labels is not None]
        return np.concatenate(known) if len(known) == len(found) else None

    def __len__(self) -> int:
        return self._ends[-1]

    @overload
    def __getitem__(self, index: int) -> Frame: ...

    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...

    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(index)
        number = bisect_right(self._ends, place)
        if self._loaded[0] != number:
            self._loaded = number, self._files[number].load(self._specs)
        first = self._ends[number] - self._files[number].frames
        return {name: array[place - first] for name, array in self._loaded[1].items()}


def read_inputs(path: str | Path, specs: Sequence[TensorSpec]) -> Inputs:
    """The frames in a file, or in the files of a folder by their names; headers are read at once.

    An .npz file has an array under the name of each input, an .npy file that of the only
    input. An array has its input's shape, or that with one more axis in front, along which
    frames lie; where the input's own first extent is 1, that may be the axis. A JPEG or PNG
    file is one frame of a network that reads bytes.

    Args:
        path: FILE.npy, FILE.npz, an image, or a folder with such.
        specs: The network's inputs.

    Raises:
        UsageError: There is no such file, or what is in it does not fit the inputs.
    """
    given = Path(path)
    if not specs:
        raise UsageError("the network has no inputs")
    paths = [given]
    if given.is_dir():
        known = (".npy", ".npz", *SUFFIXES)
        paths = sorted(one for one in given.iterdir() if one.suffix.lower() in known)
        if not paths:
            why = "there is no .npy, .npz or image file in it"
            raise UsageError(f"'{path}' has no frames", why=why)
    return Inputs(specs, [_opened(one, specs) for one in paths])


def _opened(path: Path, specs: Sequence[TensorSpec]) -> _File:
    if path.suffix.lower() in SUFFIXES:
        if not path.is_file():
            raise UsageError(f"there is no file '{path}'")
        image_input(path, specs)
        return _File(path, {}, 1)
    if path.suffix not in (".npy", ".npz"):
        hint = "give FILE.npy, FILE.npz, a JPEG or PNG file, or a folder of such"
        raise UsageError(f"'{path}' holds no frames", hint=hint)
    headers = headers_of(path)
    if path.suffix == ".npz":
        return _File(path, headers, common_count(path, specs, headers))
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        why = f"the network has {len(specs)} inputs: {names}"
        hint = "write them with numpy.savez(FILE, NAME=ARRAY, ...)"
        raise UsageError(f"'{path}' holds one array", why=why, hint=hint)
    return _File(path, headers, common_count(path, specs, {specs[0].name: headers[""]}))
