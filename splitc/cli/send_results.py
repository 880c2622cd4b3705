# SPDX-License-Identifier: Apache-2.0
"""The answers to many frames: written, and held against labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from splitc.array_files import arrays_of, headers_of
from splitc.arrays import Array
from splitc.errors import OutputError, UsageError
from splitc.send.answer import Answer

_MOST_UNANSWERED = 1000


class Results:
    """What came of frames.

    Args:
        count: How many there are; further ones are the same frames again.
        labels: The right class of each; None where that is not known.
    """

    def __init__(self, count: int, labels: Array | None) -> None:
        self._count, self._labels = count, labels
        self._arrays: dict[str, Array] = {}
        self._right = self._judged = 0
        self.unanswered: list[int] = []
        """Numbers of frames that nobody answered, the first thousand."""

    def add(self, answer: Answer) -> None:
        """Take an answer in."""
        first_pass = answer.frame < self._count
        if answer.origin == "nobody":
            self._judged += 1
            if len(self.unanswered) < _MOST_UNANSWERED:
                self.unanswered.append(answer.frame)
            return
        place = answer.frame % self._count
        for name, array in answer.found.items() if first_pass else ():
            if name not in self._arrays:
                self._arrays[name] = np.zeros((self._count, *array.shape), array.dtype)
            self._arrays[name][place] = array
        if self._labels is not None:
            scores = next(iter(answer.found.values()))
            self._judged += 1
            self._right += int(np.argmax(scores)) == int(self._labels[place])

    @property
    def accuracy(self) -> float | None:
        """Share of frames whose first result has its arg-max at the label; one that nobody
        answered is wrong. None without labels."""
        if self._labels is None or not self._judged:
            return None
        return self._right / self._judged

    def write(self, folder: Path, names: Sequence[str], *, single: bool) -> None:
        """Write `0.npy`, `1.npy` and so on, results in this order, frames along a first axis.

        Frames that nobody answered are zeros.

        Args:
            folder: Where to; made if it is not there.
            names: Names of the results.
            single: Whether there is one frame, without an axis for frames.

        Raises:
            OutputError: They cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for number, name in enumerate(names):
                if name not in self._arrays:
                    continue
                array = self._arrays[name]
                beside = folder / f".{number}.npy.new"
                with beside.open("wb") as file:
                    np.save(file, array[0] if single else array)
                beside.replace(folder / f"{number}.npy")
        except OSError as error:
            raise OutputError(f"cannot write '{folder}'", why=error.strerror or "") from error


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
