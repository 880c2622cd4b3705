# SPDX-License-Identifier: Apache-2.0
"""The results of many frames: written, and held against labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from splitc.array_files import arrays_of, headers_of
from splitc.arrays import Array, Arrays
from splitc.errors import OutputError, UsageError
from splitc.runtime.counted import filled_rows

_MOST_UNANSWERED = 1000


class Results:
    """What became of frames.

    Args:
        count: How many there are; further ones are the same frames again.
        labels: The right class of each; None where that is not known.
        counted: Rows that results have room for whose number of rows is each frame's own, by
            name: of several frames they are filled up with -1.
    """

    def __init__(
        self, count: int, labels: Array | None, counted: Mapping[str, int] | None = None
    ) -> None:
        self._count, self._labels = count, labels
        self._counted = dict(counted or {}) if count > 1 else dict[str, int]()
        self._arrays: dict[str, Array] = {}
        self._right = self._judged = 0
        self.unanswered: list[int] = []
        """Numbers of frames that nobody answered, the first thousand."""

    def miss(self, frame: int) -> None:
        """Take in that nobody answered a frame."""
        self._judged += 1
        if len(self.unanswered) < _MOST_UNANSWERED:
            self.unanswered.append(frame)

    def add(self, frame: int, found: Arrays) -> None:
        """Take the results of a frame in.

        Args:
            frame: Its number, which goes on where the frames come again.
            found: Arrays by result name.

        Raises:
            UsageError: A result has another shape than that of a frame before.
        """
        place = frame % self._count
        for name, array in found.items() if frame < self._count else ():
            if name in self._counted:
                array = filled_rows(array, self._counted[name])  # noqa: PLW2901
            if name not in self._arrays:
                self._arrays[name] = np.zeros((self._count, *array.shape), array.dtype)
            if self._arrays[name].shape[1:] != array.shape:
                why = f"'{name}' has another shape for each, as its extents hang on the data"
                hint = "run them one by one"
                raise UsageError("the frames' results do not go together", why=why, hint=hint)
            self._arrays[name][place] = array
        if self._labels is not None:
            scores = next(iter(found.values()))
            self._judged += 1
            self._right += int(np.argmax(scores)) == int(self._labels[place])

    @property
    def accuracy(self) -> float | None:
        """Share of frames whose first result has its arg-max at the label; one that nobody
        answered is wrong. None without labels."""
        if self._labels is None or not self._judged:
            return None
        return self._right / self._judged

    def arrays(self, *, single: bool) -> dict[str, Array]:
        """What came, by name: frames along one more axis in front, or the one frame's."""
        return {name: array[0] if single else array for name, array in self._arrays.items()}

    def write(self, folder: Path, names: Sequence[str], *, single: bool) -> list[str]:
        """Write `0.npy`, `1.npy` and so on, results in this order, frames along a first axis.

        Frames that nobody answered are zeros.

        Args:
            folder: Where to; made if it is not there.
            names: Names of the results.
            single: Whether there is one frame, without an axis for frames.

        Returns:
            The files' names.

        Raises:
            OutputError: They cannot be written.
        """
        made_folder(folder)
        arrays = self.arrays(single=single)
        written: list[str] = []
        try:
            for number, name in enumerate(names):
                if name not in arrays:
                    continue
                beside = folder / f".{number}.npy.new"
                with beside.open("wb") as file:
                    np.save(file, arrays[name])
                beside.replace(folder / f"{number}.npy")
                written.append(f"{number}.npy")
        except OSError as error:
            raise _unwritable(folder, error) from error
        return written


def made_folder(folder: Path) -> Path:
    """A folder for results, made if it is not there: before anything runs, best.

    Raises:
        OutputError: It cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return folder


def _unwritable(folder: Path, error: OSError) -> OutputError:
    why = error.strerror or str(error)
    return OutputError(f"cannot write '{folder}'", why=why, hint="choose another --out")


def read_labels(path: Path, count: int) -> Array:
    """The right class of each frame, whole numbers [count].

    Raises:
        UsageError: There is no such file, or it holds something else.
    """
    headers = headers_of(path)
    labels = arrays_of(path, list(headers))[""] if [*headers] == [""] else np.empty(0)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        why = f"it is {labels.dtype} {labels.shape}, there are {count} frames"
        raise UsageError(f"'{path}': labels do not fit", why=why, hint="a whole number a frame")
    return labels
