# SPDX-License-Identifier: Apache-2.0
"""Results that are kept where the tails run, a file a frame."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from numpy.lib import format as npy

from splitc.arrays import Array
from splitc.bundle.contents import plain_name
from splitc.errors import OutputError


@dataclass(frozen=True)
class Kept:
    """What a tail made of one frame.

    Args:
        tail: Name of the bundle, and of the route where it has several.
        session: Number of the device's session.
        frame: The frame's number there, from 0.
        share: Of the boundary's elements, how many came.
        results: Arrays by result name.
    """

    tail: str
    session: int
    frame: int
    share: float
    results: Mapping[str, Array] = field(repr=False)


Keep = Callable[[Kept], None]
"""Takes a frame's results, in the thread that ran its tail. A `SplitcError` that it raises is
told to the device in the place of an answer."""


@dataclass(frozen=True)
class Folder:
    """Writes each frame's results to `DIR/TAIL/SESSION-FRAME.npz`, whole or not at all.

    Args:
        path: DIR, which is made where it is not there.
    """

    path: Path

    def __call__(self, kept: Kept) -> None:
        """Write them.

        Raises:
            OutputError: They cannot be written.
        """
        folder = self.path / plain_name(kept.tail)
        name = f"{kept.session:016x}-{kept.frame:08d}.npz"
        beside = folder / f".{name}.partial"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(beside, "w") as archive:
                for result, array in kept.results.items():
                    with archive.open(f"{result}.npy", "w") as file:
                        npy.write_array(file, array, allow_pickle=False)
            beside.replace(folder / name)
        except OSError as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            why = error.strerror or str(error)
            raise OutputError(f"cannot keep results in '{folder}'", why=why) from error
