# SPDX-License-Identifier: Apache-2.0
"""What the rules need to know of a core, read from a board's instruction set and CPU name."""

from __future__ import annotations

from dataclasses import dataclass

from splitc.cost.board import Board


@dataclass(frozen=True)
class Machine:
    """The figures of one core that decide tiles, and how many cores share the work.

    Args:
        lanes: fp32 numbers in a vector register.
        registers: Vector registers that code can name.
        spare: How many of them a tile leaves to the compiler: where it fills them all, LLVM's
            allocation fails now and then, and a core that runs instructions in order needs
            some for loads ahead of their use.
        fma: Whether a fused multiply-add instruction exists.
        fma_latency: Cycles until a multiply-add's result can be added to.
        fma_per_cycle: Vector multiply-adds started per cycle.
        loads_per_cycle: Vector loads started per cycle.
        lane_fma: Whether a multiply-add takes one operand from a lane of a register
            (AArch64); otherwise from memory, broadcast as it is loaded (AVX-512), or
            broadcast by a load of its own.
        memory_fma: Whether a multiply-add takes a broadcast operand from memory.
        dot: The type of the bytes that one instruction multiplies by signed bytes, four to each
            lane, and sums; empty where there is none.
        half: Whether it multiplies float16, in vectors of twice as many.
        l1_bytes: First-level data cache of a core.
        l1_ways: Its associativity.
        l2_bytes: Second-level cache that one core can count on.
        cores: Cores that share the work.
    """

    lanes: int
    registers: int
    spare: int
    fma: bool
    fma_latency: int
    fma_per_cycle: float
    loads_per_cycle: float
    lane_fma: bool
    memory_fma: bool
    dot: str
    half: bool
    l1_bytes: int
    l1_ways: int
    l2_bytes: int
    cores: int


def machine_of(board: Board) -> Machine:
    """The machine that a board's code runs on."""
    kind = _arm(board) if board.isa == "aarch64" else _x86(board)
    return kind


def _x86(board: Board) -> Machine:
    """x86-64 by level; latencies and ports as from Haswell and Zen 2 on."""
    level = board.cpu
    avx512 = level.endswith("v4")
    avx2 = avx512 or level.endswith("v3")
    return Machine(
        lanes=16 if avx512 else 8 if avx2 else 4,
        registers=32 if avx512 else 16,
        spare=0,
        fma=avx2,
        fma_latency=4,
        fma_per_cycle=1.0 if not avx2 else 2.0,
        loads_per_cycle=2.0,
        lane_fma=False,
        memory_fma=avx512,
        dot="uint8" if _VNNI & set(board.features) else "",
        half=False,
        l1_bytes=32 << 10,
        l1_ways=8,
        l2_bytes=1 << 20 if avx512 else 512 << 10,
        cores=board.cores,
    )


_VNNI = {"+avx512vnni", "+avxvnni"}
_IN_ORDER = ("cortex-a53", "cortex-a55", "cortex-a35")


def _arm(board: Board) -> Machine:
    """AArch64: latencies and ports of Arm's optimisation guides for Cortex-A53, A72 and A76."""
    small = board.cpu in _IN_ORDER
    wide = board.flops_per_cycle > 8
    return Machine(
        lanes=4,
        registers=32,
        spare=6 if small else 2,
        fma=True,
        fma_latency=8 if small else 4 if wide else 7,
        fma_per_cycle=0.5 if small else 2.0 if wide else 1.0,
        loads_per_cycle=0.5 if small else 2.0 if wide else 1.0,
        lane_fma=True,
        memory_fma=False,
        dot="int8" if "+dotprod" in board.features else "",
        half="+fullfp16" in board.features,
        l1_bytes=(64 if wide else 32) << 10,
        l1_ways=4 if small or wide else 2,
        l2_bytes=board.cache_bytes // (1 if wide else board.cores),
        cores=board.cores,
    )
