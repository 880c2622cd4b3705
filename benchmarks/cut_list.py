# SPDX-License-Identifier: Apache-2.0
"""What compiled parts of a network's cuts lie in a folder? Its list, written and read."""

from __future__ import annotations

from pathlib import Path

import msgspec

from splitc.cost.topology import DEVICE, SERVER

WHOLE = "whole"
CODE, WEIGHTS, LIST = "model.so", "weights.bin", "parts.json"
SIDES = (DEVICE, SERVER)


class CompiledPart(msgspec.Struct, frozen=True):
    """A function of a side's library: the head or the tail of a cut, or the whole network.

    `inputs` and `outputs` are shapes and element types.
    """

    cut: str
    entry: str
    inputs: tuple[tuple[tuple[int, ...], str], ...]
    outputs: tuple[tuple[tuple[int, ...], str], ...]
    arena_bytes: int
    kernels: int


class CompiledSide(msgspec.Struct, frozen=True):
    """All parts of a network for one side, and what they share."""

    network: str
    board: str
    compiler: str
    packed_bytes: int
    parts: tuple[CompiledPart, ...]


def read_side(folder: Path) -> CompiledSide:
    """What was compiled there."""
    return msgspec.json.decode((folder / LIST).read_bytes(), type=CompiledSide)
