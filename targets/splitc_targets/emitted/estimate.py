# SPDX-License-Identifier: Apache-2.0
"""Times of kernels on a board from their code alone.

A call takes its cycles on the board's cores, as llvm-mca's model of the core has them, no load
missing L1; and the longer of two ways: of the weights that it reads over the memory's bandwidth,
as no cache keeps them until the next inference, and of its tensors over the cache's or the
memory's. Of computing and that the longer counts, and so much of the shorter as the core's file
says that the longer does not hide (`exposed`). Cores are taken to divide a shared loop evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from splitc.arrays import Array
from splitc.build.backend import Estimated, Kernel
from splitc.cost.board import Board
from splitc.cost.profile import KernelTime
from splitc.errors import UsageError
from splitc.ir.graph import LayerGraph
from splitc.runtime.process import find_emulator
from splitc_targets.emitted.blocks import Block
from splitc_targets.emitted.core_model import CoreModel
from splitc_targets.emitted.counting import count_blocks
from splitc_targets.machine.core import core_of
from splitc_targets.pipeline import Code

ISA = "aarch64"
"""Whose assembly blocks are read in."""


@dataclass(frozen=True)
class CallTime:
    """What one call of a kernel takes, in seconds.

    Args:
        compute_s: Its cycles, on all cores where they share it.
        memory_s: The longer of its weights' and its tensors' way.
        overhead_s: What a call costs beyond.
        exposed: The share of the shorter of the first two that the longer does not hide.
    """

    compute_s: float
    memory_s: float
    overhead_s: float
    exposed: float

    @property
    def seconds(self) -> float:
        """The whole."""
        return self.least_s + self.exposed * min(self.compute_s, self.memory_s)

    @property
    def least_s(self) -> float:
        """Where all of memory is read ahead while the cores compute."""
        return max(self.compute_s, self.memory_s) + self.overhead_s


def call_time(kernel: Kernel, blocks: Sequence[Block], board: Board) -> CallTime:
    """A kernel's, from its blocks, whose counts are of all its calls and whose cycles are told."""
    alone = sum(b.cycles * b.count for b in blocks if not b.shared)
    shared = sum(b.cycles * b.count for b in blocks if b.shared)
    cycles = (alone + shared / board.cores) / kernel.calls
    fits = kernel.tensor_bytes <= board.cache_bytes
    bandwidth = board.cache_bandwidth if fits else board.memory_bandwidth
    return CallTime(
        compute_s=cycles / board.clock_hz,
        memory_s=max(kernel.weight_bytes / board.memory_bandwidth, kernel.tensor_bytes / bandwidth),
        overhead_s=board.layer_overhead_s,
        exposed=core_of(board).exposed,
    )


def refuse(board: Board) -> None:
    """Raise where nothing can be told of a board.

    Raises:
        UsageError: It is no 64-bit ARM board.
        ToolchainError: llvm-mca, qemu or its C library is not installed.
    """
    if board.processor.isa != ISA:
        why = f"it runs {board.processor.isa}; emitted code is read for 64-bit ARM only"
        hint = "rpi4, rpi5, …: `splitc targets` lists them"
        raise UsageError(f"no static estimate for {board.name}", why=why, hint=hint)
    CoreModel.of(board.processor)
    find_emulator(ISA)


def estimate(
    code: Code, graph: LayerGraph, board: Board, inputs: Sequence[Array],
    progress: Callable[[str], None] = lambda _: None,
) -> Estimated:  # fmt: skip
    """What the calls of one inference take on a board.

    Args:
        code: A network's, for the board.
        graph: Its layers.
        board: An AArch64 one.
        inputs: In the graph's order: what loops over data take depends on them.
        progress: Told what is done.

    Raises:
        ToolchainError: llvm-mca, qemu, a C library or zig is missing, or one of them fails.
    """
    core = CoreModel.of(board.processor)
    progress("counting what runs, under qemu")
    blocks = count_blocks(code, graph, board, inputs)
    progress(f"asking llvm-mca for the cycles of {board.processor.cpu}")
    for some in blocks.values():
        core.tell(some)
    times = {each.name: call_time(each, blocks[each.name], board) for each in code.kernels}
    kernels = tuple(
        KernelTime(name=call.name, layers=call.layers, ms=times[call.name].seconds * 1e3)
        for call in code.calls
    )
    least = sum(times[call.name].least_s for call in code.calls)
    return Estimated(
        kernels, {"llvm-mca": core.release}, least * 1e3, core_of(board).calibrated
    )  # fmt: skip
