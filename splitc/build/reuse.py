# SPDX-License-Identifier: Apache-2.0
"""Parts that were compiled before by one process: what is the same is copied, not made again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

from splitc.build.backend import Built
from splitc.build.part_job import PartJob
from splitc.cost.board import Board
from splitc.ir.model import Network
from splitc.runtime.manifest import MANIFEST

Key = tuple[Any, ...]


class Reuse:
    """What was compiled so far, in a folder.

    Two models of one cut for two devices have one tail, and often one build of the head for
    this machine to check them with.

    Args:
        folder: Where files are kept, on the disk that bundles are written to; its owner deletes it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[Key, tuple[Path, Built]] = {}
        self._numbers = count()

    def has(self, keys: Iterable[Key]) -> bool:
        """Whether all of them were compiled."""
        return all(key in self._kept for key in keys)

    def take(self, key: Key, folder: Path) -> Built | None:
        """Copy a part's files into its folder; None where it was not compiled yet."""
        if key not in self._kept:
            return None
        kept, built = self._kept[key]
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        return built

    def keep(self, key: Key, folder: Path, built: Built) -> None:
        """A part was written; its manifest, which names the bundle, is none of it."""
        # Parts are written by several threads.
        kept = self._folder / str(next(self._numbers))
        link = shutil.ignore_patterns(MANIFEST)
        try:
            shutil.copytree(folder, kept, ignore=link, copy_function=os.link)
        except OSError:  # shutil.Error too: a file system without hard links
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder, kept, ignore=link)
        self._kept[key] = kept, built


def part_key(
    part: PartJob, network: Network, board: Board, limit: int | None, *, runtime: bool
) -> Key:
    """What a compiled part hangs on.

    Args:
        part: The part.
        network: Its layers and weights.
        board: What it is compiled for.
        limit: Bytes that it may take.
        runtime: Whether what runs it is beside it.
    """
    layouts = tuple(sorted(part.layouts.items()))
    return (
        part.backend.name, network.fingerprint(), part.batch, layouts, repr(board), limit, runtime,
    )  # fmt: skip
