# SPDX-License-Identifier: Apache-2.0
"""What does an inference take on a board that is not here? Its cycles, and what memory takes.

    ms = the longer of arithmetic and memory + exposed * the shorter

Arithmetic is llvm-mca's cycles over the clock; memory the lines that go between the last cache
and it, by `arm_caches`, over the rate that one core gets. Where all cores compute, they divide
the cycles evenly, and the same lines take the rate that all of them get. What L2 has is taken to
come in time.

`exposed`, the one constant that is fitted, stands in the core's file, as `splitc profile
--static` and `estimate` use it too. It is fitted to times that others published of their own
code on one core of the board: `arm_vs_runtimes --fit`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arm_caches import LINE_BYTES, Traffic

from splitc.cost.board import Board
from splitc_targets.machine.core import core_of


@dataclass(frozen=True)
class Time:
    """What a run's time is made of.

    Args:
        board: Whose clock and memory count.
        cycles: Of arithmetic, all loads from L1.
        memory_bytes: That go between the last cache and memory, both ways.
    """

    board: Board
    cycles: float
    memory_bytes: int

    @staticmethod
    def of(cycles: float, traffic: Sequence[Traffic], board: Board) -> Time:
        """From what was counted.

        Args:
            cycles: As llvm-mca has them.
            traffic: Of each cache, L1's first.
            board: The board.
        """
        return Time(board, cycles, traffic[-1].lines * LINE_BYTES)

    def cycles_ms(self, cores: int = 1) -> float:
        """Of arithmetic alone."""
        return self.cycles / cores / self.board.clock_hz * 1e3

    def memory_ms(self, cores: int = 1) -> float:
        """Of memory alone."""
        rate = one_core_rate(self.board) if cores == 1 else self.board.memory_bandwidth
        return self.memory_bytes / rate * 1e3

    def ms(self, exposed: float, cores: int = 1) -> float:
        """The whole.

        Args:
            exposed: The share of the shorter that the longer does not hide.
            cores: That compute: one, or all.
        """
        both = self.cycles_ms(cores), self.memory_ms(cores)
        return max(both) + exposed * min(both)


def one_core_rate(board: Board) -> float:
    """Bytes a second that one core gets of memory."""
    each = core_of(board).one_core_memory_bytes_per_cycle
    return board.memory_bandwidth if each is None else each * board.clock_hz


def exposed(board: Board) -> float:
    """What the board's core leaves of the shorter."""
    return core_of(board).exposed


@dataclass(frozen=True)
class Fit:
    """`exposed` as published times have it, and how far off it leaves them.

    Args:
        exposed: Fitted to all networks.
        ratios: Published over predicted, by network, with that.
        left_out: The same, each predicted by a fit to the others.
    """

    exposed: float
    ratios: Mapping[str, float]
    left_out: Mapping[str, float]

    @property
    def spread(self) -> float:
        """Largest factor by which a network that was left out is off, less one."""
        return max(max(ratio, 1 / ratio) for ratio in self.left_out.values()) - 1


def fit(times: Mapping[str, Time], published_ms: Mapping[str, float]) -> Fit:
    """The `exposed` whose logarithms of published over predicted have the least squares.

    Args:
        times: What each network's time is made of.
        published_ms: Of all of them, and of others.
    """

    def ratios(names: Sequence[str], share: float) -> dict[str, float]:
        return {name: published_ms[name] / times[name].ms(share) for name in names}

    def best(names: Sequence[str]) -> float:
        def squares(share: float) -> float:
            return sum(math.log(ratio) ** 2 for ratio in ratios(names, share).values())

        return min((step / 1000 for step in range(1001)), key=squares)

    names = list(times)
    found = best(names)
    left_out = {
        name: ratios([name], best([other for other in names if other != name]))[name]
        for name in names
    }
    return Fit(found, ratios(names, found), left_out)
