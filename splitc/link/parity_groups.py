# SPDX-License-Identifier: Apache-2.0
"""Which packets of a frame are computed from one another when some are lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from splitc.errors import UsageError

MOST_TOGETHER = 128
"""Chunks of a group: with as many parity blocks they are all that GF(2^8) tells apart."""


class Group(NamedTuple):
    """Chunks that are computed from one another: every `step`-th from `start`.

    Any `len(chunks)` of its chunks and blocks give all of its chunks.

    Args:
        chunks: Their numbers.
        blocks: Numbers of their parity blocks, among the frame's.
    """

    chunks: range
    blocks: range


def parity_groups(chunks: int, percent: int) -> list[Group]:
    """The groups of a frame of so many chunks.

    Chunks are dealt out to groups of up to 128, so that a burst is shared out, and of each
    group of k there are ceil(k percent / 100) blocks more.

    Args:
        chunks: Chunks of a frame.
        percent: Parity blocks for 100 chunks, from 1 to 100.

    Raises:
        UsageError: `percent` is out of its range.
    """
    if not 1 <= percent <= 100:
        raise UsageError(f"parity {percent} is not in 1 to 100 percent")
    count = -(-chunks // MOST_TOGETHER)
    groups: list[Group] = []
    blocks = 0
    for number in range(count):
        members = range(number, chunks, count)
        more = -(-len(members) * percent // 100)
        groups.append(Group(members, range(blocks, blocks + more)))
        blocks += more
    return groups


def there(groups: Sequence[Group], packets: int, came: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which packets of values the server has, those that it computes included.

    Args:
        groups: Of the frame.
        packets: With values.
        came: Which packets came, of values and then of parity [frames, packets + blocks].

    Returns:
        [frames, packets].
    """
    here = came[:, :packets].copy()
    for chunks, blocks in groups:
        inside = came[:, [*chunks, *(packets + block for block in blocks)]]
        here[np.ix_(inside.sum(1) >= len(chunks), [*chunks])] = True
    return here
