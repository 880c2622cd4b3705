# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Recurrent weights that are no constants, packed at run time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from splitc_targets.kernels.recurrent.geometry import Cell, blocks, packed_size, phase_at
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code
from splitc_targets.machine.machine import Machine


@dataclass(frozen=True)
class Packing:
    """Weights [gates * hidden, hidden] to pack.

    Args:
        cell: Whose they are.
        hidden: Hidden units.
        row, column: Distances between neighbours, in elements.
    """

    cell: Cell
    hidden: int
    row: int
    column: int


def kernel(name: str, spec: Packing, machine: Machine) -> Any:
    """The kernel (weights, packed)."""
    cell, hidden, lanes = spec.cell, spec.hidden, machine.lanes
    reach = (cell.gates * hidden - 1) * spec.row + (hidden - 1) * spec.column + 1
    size = packed_size(cell, hidden, machine)

    def write(code: Code, source: Array, target: Array) -> None:
        for number, gates in enumerate(cell.phases):
            begin = phase_at(cell, number, hidden, machine)
            for block in blocks(len(gates), hidden, machine):
                with code.loop("b", block.count) as b, code.loop("k", hidden) as k:
                    vector = block.first + b * block.vectors
                    at = begin + vector * (lanes * len(gates) * hidden)
                    at = code.bind(at + k * (len(gates) * block.vectors * lanes))
                    for place, gate in enumerate(gates):
                        for j in range(block.vectors):
                            used = block.used if j == block.vectors - 1 else lanes
                            unit = code.bind(gate * hidden + (vector + j) * lanes)
                            row = [
                                source.at((unit + min(c, used - 1)) * spec.row + k * spec.column)
                                for c in range(lanes)
                            ]
                            value = emit.shuffle(row, range(lanes)) if lanes > 1 else row[0]
                            to = at + (place * block.vectors + j) * lanes
                            code.store(target, to, value, lanes)

    return emit.function(name, [Argument("weights", (reach,)), Argument("packed", (size,))], write)
