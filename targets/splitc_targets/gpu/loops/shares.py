# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""What each thread of a block brings of an operand's slice into shared memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from splitc_targets.gpu.loops.threads import Threads
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Index, const, tirx


@dataclass(frozen=True)
class Share:
    """What a thread brings of a slice: `run` elements of lines so many apart.

    Args:
        first: The first line.
        within: The first element of each.
        apart: Lines from one to the next.
        count: How many.
        run: Elements of each, side by side.
        mine: Whether the thread brings any; None where all do.
    """

    first: Index
    within: Index
    apart: int
    count: int
    run: int
    mine: Any = None

    @property
    def lines(self) -> list[Index]:
        """All of them."""
        return [self.first + i * self.apart for i in range(self.count)]


def by_lines(code: Threads, threads: int, lines: int, length: int, run: int) -> Share:
    """Threads side by side bring neighbouring elements of a line.

    Args:
        code: Gets the statements.
        threads: Of the block.
        lines: Of the slice. This and the others are powers of two.
        length: Elements of a line.
        run: Elements that are brought at once.
    """
    each = length // run
    first = code.bind(emit.div(code.thread, each), "line")
    within = code.bind(emit.mod(code.thread, each) * run, "within")
    if lines * each < threads:
        return Share(first, within, 0, 1, run, tirx.LT(code.thread, const(lines * each)))
    return Share(first, within, threads // each, lines * each // threads, run)
