# SPDX-License-Identifier: Apache-2.0
"""The static memory plan: buffers that are never alive together share addresses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from splitc.runtime.tvm_abi import ALIGNMENT
from splitc_targets.graph.views import Buffer
from splitc_targets.plan.planner import Plan


@dataclass(frozen=True)
class Arena:
    """Addresses of planned buffers.

    Args:
        at: First byte of each buffer.
        bytes: Size of the whole.
        live_bytes: Largest sum of the buffers alive at one step: no plan can need less.
    """

    at: dict[Buffer, int]
    bytes: int
    live_bytes: int


def dtype_bytes(buffer: Buffer) -> int:
    """Bytes of one element."""
    return 2 if buffer.dtype == "bfloat16" else np.dtype(buffer.dtype).itemsize


def bytes_of(buffer: Buffer) -> int:
    """A buffer's bytes, up to the next line."""
    size = buffer.size * dtype_bytes(buffer)
    return -(-size // ALIGNMENT) * ALIGNMENT


def arrange(plan: Plan) -> Arena:
    """Give every planned buffer an address: of several orders of placing, the best one."""
    lives = lifetimes(plan)
    orders: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
        lambda b: (-bytes_of(b), *lives[b]),
        lambda b: (-bytes_of(b) * (lives[b][1] - lives[b][0] + 1), *lives[b]),
        lambda b: (lives[b][0] - lives[b][1], -bytes_of(b), *lives[b]),
        lambda b: (*lives[b], -bytes_of(b)),
    )
    placed = [_place(sorted(lives, key=order), lives) for order in orders]
    at, total = min(placed, key=lambda found: found[1])
    return Arena(at, total, _largest_live(lives))


def _place(
    order: list[Buffer], lives: dict[Buffer, tuple[int, int]]
) -> tuple[dict[Buffer, int], int]:
    """Each buffer in turn in the tightest gap that is free for its whole life."""
    at: dict[Buffer, int] = {}
    total = 0
    for buffer in order:
        first, last = lives[buffer]
        beside = sorted(
            (at[other], at[other] + bytes_of(other))
            for other in at
            if lives[other][0] <= last and first <= lives[other][1]
        )
        place, best = 0, None
        for start, end in beside:
            gap = start - place
            if gap >= bytes_of(buffer) and (best is None or gap < best[0]):
                best = (gap, place)
            place = max(place, end)
        at[buffer] = best[1] if best else place
        total = max(total, at[buffer] + bytes_of(buffer))
    return at, total


def lifetimes(plan: Plan) -> dict[Buffer, tuple[int, int]]:
    """First and last step that touches each planned buffer."""
    lives: dict[Buffer, tuple[int, int]] = {}
    for number, step in enumerate(plan.steps):
        for view in step.args:
            if view.buffer.kind == "arena":
                first = lives.get(view.buffer, (number, number))[0]
                lives[view.buffer] = (first, number)
    return lives


def _largest_live(lives: dict[Buffer, tuple[int, int]]) -> int:
    changes: dict[int, int] = {}
    for buffer, (first, last) in lives.items():
        changes[first] = changes.get(first, 0) + bytes_of(buffer)
        changes[last + 1] = changes.get(last + 1, 0) - bytes_of(buffer)
    live = most = 0
    for step in sorted(changes):
        live += changes[step]
        most = max(most, live)
    return most
