# SPDX-License-Identifier: Apache-2.0
"""The figures of a graphics processor that decide how kernels share their work."""

from __future__ import annotations

from dataclasses import dataclass

from splitc.cost.board import Board, Gpu

SHARED_BYTES = {"sm_75": 65536, "sm_80": 167936, "sm_86": 102400, "sm_87": 167936,
                "sm_89": 102400, "sm_90": 233472}  # fmt: skip
"""Shared memory of a multiprocessor (CUDA C++ Programming Guide, technical specifications per
compute capability)."""
RESIDENT = {"sm_75": 1024, "sm_80": 2048, "sm_86": 1536, "sm_87": 1536, "sm_89": 1536,
            "sm_90": 2048}  # fmt: skip
"""Threads that a multiprocessor holds at a time (the same table)."""
REGISTERS = 65536
"""Of a multiprocessor, on all of them."""
BLOCK_SHARED_BYTES = 49152
"""What a block may have of it without asking for more, on all of them."""


@dataclass(frozen=True)
class Device:
    """What tiles are chosen for.

    Args:
        units: Multiprocessors (compute units in OpenCL's words).
        multiply_adds: fp32 multiply-adds that one of them starts a cycle.
        resident: Threads that one of them holds at a time.
        precision: What products are multiplied in.
        tensor: Multiply-adds in it that tensor cores of one of them do a cycle; 0 for none.
        copies: Whether slices are copied while others are multiplied (`cp.async`).
        shared_bytes: Shared memory of one of them.
        near: Bytes a cycle that one of them gets of the cache that all share.
        twin: Whether tensor cores' work is done by ordinary arithmetic, for checks.
    """

    units: int
    multiply_adds: float
    resident: int = 1536
    precision: str = "float32"
    tensor: float = 0.0
    copies: bool = True
    shared_bytes: int = 102400
    near: float = 32.0
    twin: bool = False

    @property
    def slices(self) -> int:
        """Slices of each operand that a block of the usual units holds: as many as hide copies."""
        return 3 if self.copies else 2


def device_of(board: Board) -> Device:
    """The device of a board whose unit is a graphics processor; its cores are multiprocessors."""
    unit = board.unit
    assert isinstance(unit, Gpu)
    copies = unit.api != "cuda" or int(unit.arch[3:]) >= 80
    return Device(
        board.cores, board.flops_per_cycle / 2, precision=unit.precision,
        tensor=unit.tensor.get(unit.precision, 0.0), copies=copies,
        resident=RESIDENT.get(unit.arch, Device.resident),
        shared_bytes=SHARED_BYTES.get(unit.arch, Device.shared_bytes),
        near=board.cache_bandwidth / (board.cores * board.clock_hz), twin=unit.api != "cuda",
    )  # fmt: skip
