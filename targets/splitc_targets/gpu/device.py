# SPDX-License-Identifier: Apache-2.0
"""The figures of a graphics processor that decide how kernels share their work."""

from __future__ import annotations

from dataclasses import dataclass

from splitc.cost.board import Board


@dataclass(frozen=True)
class Device:
    """What tiles are chosen for.

    Args:
        units: Multiprocessors (compute units in OpenCL's words).
        multiply_adds: fp32 multiply-adds that one of them starts a cycle.
        resident: Threads that one of them holds at a time.
    """

    units: int
    multiply_adds: float
    resident: int = 1536


def device_of(board: Board) -> Device:
    """The device of a board whose unit is a graphics processor; its cores are multiprocessors."""
    return Device(board.cores, board.flops_per_cycle / 2)
