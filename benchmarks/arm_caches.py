# SPDX-License-Identifier: Apache-2.0
"""What goes between a core's caches and memory while a program runs? Counted by the plug-in.

`arm_caches.h` is the model: set-associative caches that replace the line used longest ago, and
streams that a prefetcher would foresee. What such lines cost is told apart, in `arm_costs`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from splitc.cost.board import Board
from splitc.errors import ToolchainError
from splitc_targets.machine.core import core_of

LINE_BYTES = 64
_ROW = struct.Struct("<QQQQ")


@dataclass(frozen=True)
class Cache:
    """A level of a core's caches.

    Args:
        size: In bytes.
        ways: Its associativity.
    """

    size: int
    ways: int


@dataclass(frozen=True)
class Traffic:
    """Lines that go between a cache and the next level, or memory.

    Args:
        foreseen: Fetched for loads, each the next of a stream of misses.
        unforeseen: Fetched for loads, others.
        stored: Fetched for stores.
        written: Sent back, as they were changed.
    """

    foreseen: int
    unforeseen: int
    stored: int
    written: int

    @property
    def lines(self) -> int:
        """All of them, both ways."""
        return self.foreseen + self.unforeseen + self.stored + self.written

    def __sub__(self, other: Traffic) -> Traffic:
        """What is more than the other's."""
        return Traffic(
            self.foreseen - other.foreseen, self.unforeseen - other.unforeseen,
            self.stored - other.stored, self.written - other.written,
        )  # fmt: skip


def caches_of(board: Board) -> tuple[Cache, ...]:
    """A board's data caches, from the core outwards.

    References:
        Technical reference manuals of the Cortex-A53 (L2 of 16 ways), A72 (16 ways) and A76 (8
        ways); DynamIQ Shared Unit (L3 of 16 ways). Sizes of L1 are in the core's file; those of
        the last level in the board's.

    Raises:
        ToolchainError: It is not known.
    """
    core = core_of(board)
    first, name = Cache(core.l1_bytes, core.l1_ways), board.processor.cpu
    if name not in _BEHIND_L1:
        raise ToolchainError("the caches are not known", at=name)
    return (first, *_BEHIND_L1[name], Cache(board.cache_bytes, 16))


_BEHIND_L1 = {
    "cortex-a53": (), "cortex-a57": (), "cortex-a72": (), "cortex-a76": (Cache(512 * 1024, 8),),
}  # fmt: skip
"""What a core has between its L1 and the board's last level."""


def read_traffic(data: bytes) -> tuple[Traffic, ...]:
    """What the plug-in wrote, a level each.

    Raises:
        ToolchainError: It breaks off.
    """
    if len(data) % _ROW.size:
        raise ToolchainError("the caches' figures break off", at=f"byte {len(data)}")
    return tuple(Traffic(*row) for row in _ROW.iter_unpack(data))


def arguments(caches: Sequence[Cache]) -> str:
    """The caches as the plug-in takes them."""
    return "".join(f",cache={cache.size}/{cache.ways}" for cache in caches)
