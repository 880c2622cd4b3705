# SPDX-License-Identifier: Apache-2.0
"""The figures of a graphics processor that decide how kernels share their work."""

from __future__ import annotations

from dataclasses import dataclass

from splitc.cost.board import Board, Gpu


@dataclass(frozen=True)
class Device:
    """What tiles are chosen for.

    Args:
        units: Multiprocessors (compute units in OpenCL's words).
        multiply_adds: fp32 multiply-adds that one of them starts a cycle.
        resident: Threads that one of them holds at a time.
        precision: What products are multiplied in.
        tensor: Multiply-adds in it that tensor cores of one of them do a cycle; 0 for none.
        slices: Of each operand that a block holds: as many as hide the copying of the next.
        twin: Whether tensor cores' work is done by ordinary arithmetic, for checks.
    """

    units: int
    multiply_adds: float
    resident: int = 1536
    precision: str = "float32"
    tensor: float = 0.0
    slices: int = 3
    twin: bool = False


def device_of(board: Board) -> Device:
    """The device of a board whose unit is a graphics processor; its cores are multiprocessors."""
    unit = board.unit
    assert isinstance(unit, Gpu)
    # Turing's GPUs have no copies to wait for later.
    at_once = unit.api == "cuda" and int(unit.arch[3:]) < 80
    return Device(
        board.cores, board.flops_per_cycle / 2, precision=unit.precision,
        tensor=unit.tensor.get(unit.precision, 0.0), slices=2 if at_once else 3,
        twin=unit.api != "cuda",
    )  # fmt: skip
