# SPDX-License-Identifier: Apache-2.0
"""How quickly a board does what kernels ask for: seconds of cycles, bytes and parallel loops."""

from __future__ import annotations

from dataclasses import dataclass

from splitc.cost.board import Board
from splitc.cost.stress import LayerTerms
from splitc_targets.estimate.loads import Load
from splitc_targets.machine.core import core_of
from splitc_targets.machine.machine import Machine, machine_of

CALL_S = 1e-7
"""Of a kernel's call: its arguments, and the first lines of code that no cache holds."""


@dataclass(frozen=True)
class Rates:
    """A machine's rates; bytes a second.

    Args:
        machine: What kernels are planned for.
        hz: Its clock.
        last_bytes: The last cache before memory, all cores' part of it.
        last_rate: What one core reads of it in a row; None where that is its L2.
        near: What one core reads of its L2, where it has one of its own; else None.
        near_shared: What all cores together read of the cache that they share.
        memory: What all cores together get of memory.
        memory_one: What one core alone gets.
        exposed: Of arithmetic and bytes that come meanwhile, how much of the shorter is seen.
        near_exposed: The same of arithmetic and what comes from `near_shared`.
        loop_s: Until all cores have begun a parallel loop, and its end is known.
    """

    machine: Machine
    hz: float
    last_bytes: int
    last_rate: float | None
    near: float | None
    near_shared: float
    memory: float
    memory_one: float
    exposed: float
    near_exposed: float
    loop_s: float

    def terms(self, load: Load, kept: float) -> LayerTerms:
        """What the time of a kernel is made of.

        Args:
            load: What it asks for.
            kept: The share of the network's constants that the last cache keeps from one run
                to the next.
        """
        weights_s = load.weight_bytes * (
            (1 - kept) / self._memory(load.cores) + kept / self._last(load.cores)
        )
        again_s = load.again_bytes / self._last(1)
        cycles_s, near_s = load.cycles / self.hz, load.near_bytes / self._near(load.cores)
        # A cache of its own keeps up with a core.
        shared = self.near_exposed if self.near is None else 0.0
        arithmetic_s = max(cycles_s, near_s) + shared * min(cycles_s, near_s)
        tensors_s = self._tensors_s(load)
        beside_s = self.exposed * min(arithmetic_s, tensors_s)
        return LayerTerms(
            CALL_S + load.loops * self.loop_s, arithmetic_s, tensors_s,
            weights_s + again_s + beside_s,
        )  # fmt: skip

    def kept(self, constant_bytes: float) -> float:
        """The share of a network's constants that the last cache keeps from run to run.

        Going through more than it holds in the same order leaves nothing of them: all within
        twice its size.
        """
        return min(1.0, max(0.0, 2.0 - constant_bytes / self.last_bytes))

    def _tensors_s(self, load: Load) -> float:
        both = load.read_bytes + load.written_bytes
        own = self.machine.l2_bytes * load.cores
        if both <= own / 2:
            return both / (self._near(load.cores) * load.cores)
        if self.last_rate is not None and both <= self.last_bytes / 2:
            return both / self._last(load.cores)
        # What is written is read before: a line of the cache is more than one store.
        return (load.read_bytes + 2 * load.written_bytes) / self._memory(load.cores)

    def _memory(self, cores: int) -> float:
        return min(self.memory, cores * self.memory_one)

    def _last(self, cores: int) -> float:
        return (self._near(cores) if self.last_rate is None else self.last_rate) * cores

    def _near(self, cores: int) -> float:
        """What each of so many cores reads of L2."""
        if self.near is not None:
            return self.near
        return self.near_shared / max(ALONE, cores)


ALONE = 2
"""One core alone gets no more of a shared cache than each of so many together."""

LOOP_CYCLES = 12_000
"""Until all cores have begun a parallel loop and its end is known: the runner's threads spin."""


def rates_of(board: Board) -> Rates:
    """The rates of a board.

    Raises:
        UsageError: Its core is not known, or is described wrongly.
    """
    core, machine, hz = core_of(board), machine_of(board), board.clock_hz
    one = core.one_core_memory_bytes_per_cycle
    last_rate = core.l3_bytes_per_cycle
    return Rates(
        machine, hz,
        last_bytes=(core.l3_bytes or machine.l2_bytes) * board.cores,
        last_rate=None if last_rate is None else last_rate * hz,
        near=None if core.l2_bytes_per_cycle is None else core.l2_bytes_per_cycle * hz,
        near_shared=board.cache_bandwidth,
        memory=board.memory_bandwidth,
        memory_one=board.memory_bandwidth if one is None else one * hz,
        exposed=core.exposed,
        near_exposed=core.exposed if core.l2_exposed is None else core.l2_exposed,
        loop_s=LOOP_CYCLES / hz if board.cores > 1 else 0.0,
    )  # fmt: skip
