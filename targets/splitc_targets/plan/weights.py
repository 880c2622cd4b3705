# SPDX-License-Identifier: Apache-2.0
"""The file of a part's constants: each content once, at an address that the code knows.

It is mapped and not read: what runs a part takes no memory for weights beyond the pages of the
file, which other processes and other parts of the bundle share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from splitc.runtime.tvm_abi import aligned
from splitc_targets.graph.views import Buffer
from splitc_targets.plan.arena import bytes_of
from splitc_targets.plan.planner import Plan


@dataclass(frozen=True)
class Weights:
    """What lies where.

    Args:
        at: First byte of each constant; equal constants share one.
        bytes: Size of the whole.
    """

    at: dict[Buffer, int]
    bytes: int

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            OSError: The disk is full.
        """
        with path.open("wb") as file:
            for start, content in self._contents():
                file.write(bytes(start - file.tell()))
                file.write(content)
            file.write(bytes(self.bytes - file.tell()))

    def array(self) -> np.ndarray[Any, Any]:
        """The file's bytes in memory, aligned as a mapped file's are; one byte where none are."""
        made = aligned((max(1, self.bytes),), np.dtype(np.uint8))
        for start, content in self._contents():
            made[start : start + len(content)] = content
        return made

    def _contents(self) -> Iterator[tuple[int, memoryview]]:
        first = {start: buffer for buffer, start in reversed(self.at.items())}
        for start in sorted(first):
            yield start, _bytes(first[start])


def lay_out(plan: Plan) -> Weights:
    """Give every constant that kernels read an address, in the order they are read first."""
    at: dict[Buffer, int] = {}
    same: dict[bytes, int] = {}
    end = 0
    for step in (*plan.preparations, *plan.steps):
        for view in step.args:
            if view.buffer.kind != "constant" or view.buffer in at:
                continue
            content = _bytes(view.buffer)
            digest = hashlib.blake2b(content).digest()
            if digest not in same:
                same[digest] = end
                end += bytes_of(view.buffer)
            at[view.buffer] = same[digest]
    return Weights(at, end)


def _bytes(buffer: Buffer) -> memoryview:
    """A constant's numbers as they lie in memory."""
    return np.ascontiguousarray(buffer.data).reshape(-1).view(np.uint8).data
