# SPDX-License-Identifier: Apache-2.0
"""The machine that a board's code runs on: a core's figures, and how many share the work."""

from __future__ import annotations

from dataclasses import dataclass, replace

from splitc.cost.board import Board
from splitc_targets.machine.core import MultiplyAdd, TileProduct, core_of


@dataclass(frozen=True)
class Machine:
    """What decides tiles, algorithms and element types; `machine.core.Core` says more of each.

    Args:
        lanes: fp32 numbers in a vector register.
        registers: Vector registers that code can name.
        spare: How many of them a tile leaves to the compiler.
        fma: Whether a fused multiply-add instruction exists.
        fma_latency: Cycles until a multiply-add's result can be added to.
        fma_per_cycle: Vector multiply-adds started per cycle.
        loads_per_cycle: Vector loads started per cycle.
        lane_fma: Whether a multiply-add takes one operand from a lane of a register.
        memory_fma: Whether a multiply-add takes a broadcast operand from memory.
        prefetch: Whether kernels ask for weights before they reach them.
        multiply_adds: Instructions for smaller elements that its board's code may use.
        tile_products: Instructions for tiles of them, likewise.
        l1_bytes: First-level data cache of a core.
        l1_ways: Its associativity.
        l2_bytes: Second-level cache that one core can count on.
        l2_shared: Whether that is its part of one that all cores share.
        beyond_l2: Bytes per cycle that a core gets from beyond it.
        memory: Bytes per cycle that all cores together get from memory.
        exposed: Of arithmetic and bytes that come meanwhile, how much of the shorter is not
            hidden behind the longer.
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
    prefetch: bool
    multiply_adds: tuple[MultiplyAdd, ...]
    tile_products: tuple[TileProduct, ...]
    l1_bytes: int
    l1_ways: int
    l2_bytes: int
    l2_shared: bool
    beyond_l2: float
    memory: float
    exposed: float
    cores: int

    def multiplying(self, weights: str) -> MultiplyAdd | None:
        """The instruction that multiplies by weights of an element type, if there is one."""
        return next((row for row in self.multiply_adds if row.weights == weights), None)

    def tiling(self, weights: str) -> TileProduct | None:
        """The product of tiles by weights of an element type, if there is one."""
        return next((row for row in self.tile_products if row.weights == weights), None)

    def shares(self, flops: int) -> bool:
        """Whether that many operations are worth waking the other cores for."""
        return self.cores > 1 and flops > WORTH_SHARING

    def using(self, row: MultiplyAdd) -> Machine:
        """The machine as tiles of that instruction's sums see it.

        No such instruction takes an operand from memory and repeats it over the lanes.
        """
        return replace(self, lanes=row.lanes, memory_fma=False)


WORTH_SHARING = 200_000
"""Operations below which waking the other cores costs more than it saves.

On a small core they take some 10 µs.
"""

ELEMENTS_WORTH_SHARING = 16_384
"""The same of what goes over elements once: operations on one of them."""


def machine_of(board: Board) -> Machine:
    """The machine that a board's code runs on.

    Raises:
        UsageError: Its core is not known, or is described wrongly.
    """
    core = core_of(board)
    l2_bytes = core.l2_bytes or board.cache_bytes
    beyond_l2, memory = core.beyond_l2_bytes_per_cycle, core.memory_bytes_per_cycle
    if board.cores == 1:  # It shares memory with nobody.
        memory = core.one_core_memory_bytes_per_cycle or memory
        beyond_l2 = max(beyond_l2, memory)
    processor = board.processor

    def allowed(row: MultiplyAdd | TileProduct) -> bool:
        asked = row.precision in ("float32", processor.precision)
        return asked and row.feature in processor.features

    return Machine(
        lanes=core.lanes, registers=core.registers, spare=core.spare, fma=core.fma,
        fma_latency=core.fma_latency, fma_per_cycle=core.fma_per_cycle,
        loads_per_cycle=core.loads_per_cycle, lane_fma=core.lane_fma, memory_fma=core.memory_fma,
        prefetch=core.prefetch,
        multiply_adds=tuple(filter(allowed, core.multiply_adds)),
        tile_products=tuple(filter(allowed, core.tile_products)),
        l1_bytes=core.l1_bytes, l1_ways=core.l1_ways,
        l2_bytes=l2_bytes // (board.cores if core.l2_shared else 1), l2_shared=core.l2_shared,
        beyond_l2=beyond_l2, memory=memory, exposed=core.exposed,
        cores=board.cores,
    )  # fmt: skip
