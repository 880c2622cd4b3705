# SPDX-License-Identifier: Apache-2.0
"""Which operations are computed together: runs of them from which only one value is read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

LONGEST = 24
"""Operations fused at most: beyond, compile time grows and registers run out."""

_Node = TypeVar("_Node", bound=Hashable)


def longest_run(
    start: _Node,
    readers: Callable[[_Node], Sequence[_Node]],
    order: Callable[[_Node], int],
    joins: Callable[[_Node], bool],
    is_result: Callable[[_Node], bool],
) -> list[_Node]:
    """The longest run of readers behind a node from which only one value is read outside.

    Args:
        start: The node; like all others it gives one value.
        readers: The nodes that read a node's value.
        order: When a node runs.
        joins: Whether a node may be computed with those before it; asked once each, in order,
            until one may not.
        is_result: Whether a node's value is one of the graph's.

    Returns:
        The run, in order; the last one's value is the only one that others read.
    """
    members: list[_Node] = []
    inside = {start}
    best = 0
    pending = sorted(readers(start), key=order)
    while pending and len(members) < LONGEST:
        reader = pending.pop(0)
        if reader in inside:
            continue
        if not joins(reader):
            break
        members.append(reader)
        inside.add(reader)
        pending = sorted({*pending, *readers(reader)}, key=order)
        others = (node for node in (start, *members) if node != reader)
        if all(not is_result(node) and inside.issuperset(readers(node)) for node in others):
            best = len(members)
    return members[:best]
