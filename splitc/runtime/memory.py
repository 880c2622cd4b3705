# SPDX-License-Identifier: Apache-2.0
"""Memory that is mapped: weights from their file, and what is as large as they are."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np

from splitc.arrays import Array
from splitc.errors import BadBundleError

_LARGE_PAGE = 2**21


def zeroed(size: int) -> Array:
    """That many bytes, at least one; they take memory when they are first written."""
    large = size >= _LARGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE")
    # Whole large pages, and room to begin at the first of one.
    room = -(-size // _LARGE_PAGE) * _LARGE_PAGE + _LARGE_PAGE if large else max(size, 1)
    memory = mmap.mmap(-1, room, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    every = np.frombuffer(memory, np.uint8)
    if not large:
        return every
    # All of it is written and read from end to end: one fault for 512. And what lies together
    # falls on different lines of a core's L2: small pages are anywhere, some on the same.
    memory.madvise(mmap.MADV_HUGEPAGE)
    start = -every.ctypes.data % _LARGE_PAGE
    return every[start : start + size]


class Arenas:
    """Scratch memory for parts that run one after another: each call borrows a block of it.

    A block is as large as the largest part wants it; there are as many as calls run at once.
    """

    def __init__(self) -> None:
        self._size = 0
        self._free: list[Array] = []
        self.blocks = 0
        """How many there are, those in use among them."""

    def want(self, size: int) -> None:
        """A part works in that many bytes."""
        self._size = max(self._size, size)

    def borrow(self) -> Array:
        """A block that nobody else has; what is in it is of no meaning."""
        while True:
            try:
                block = self._free.pop()
            except IndexError:
                self.blocks += 1
                return zeroed(self._size)
            if len(block) >= self._size:
                return block
            # It is from before a larger part was loaded.
            self.blocks -= 1

    def give_back(self, block: Array) -> None:
        """A block is free again."""
        self._free.append(block)


class MappedFile:
    """A file's bytes, read only and shared with every process that maps it.

    Args:
        path: The file.

    Raises:
        BadBundleError: It cannot be mapped, or is empty.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._memory = mmap.mmap(
                    file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ
                )
        except (OSError, ValueError) as error:
            raise BadBundleError("cannot map the weights", at=str(path), why=str(error)) from error
        self.bytes: Array = np.frombuffer(self._memory, np.uint8)

    def drop(self) -> None:
        """Give the memory back that its pages take here; they come back when they are read."""
        self._memory.madvise(mmap.MADV_DONTNEED)
