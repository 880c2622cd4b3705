# SPDX-License-Identifier: Apache-2.0
"""The quickest cut of each condition, some conditions at a time: here, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from splitc.errors import UsageError
from splitc.search.grid import Point
from splitc.search.sweep import Key, Search
from splitc.sweep.journal import Journal

_AT_ONCE = 16
"""Conditions that are lost at most when a sweep is killed, where all cuts are priced at once."""

Found = tuple[int, list[Key]]


class Workers(Protocol):
    """Who looks for the quickest cuts."""

    def each(self, search: Search, batches: Sequence[Sequence[Point]]) -> Iterator[Found]:
        """The number of each batch and the quickest cut of each of its conditions, as they come."""
        ...


class Here(Workers):
    """This process, one batch after the other."""

    def each(self, search: Search, batches: Sequence[Sequence[Point]]) -> Iterator[Found]:
        """See `Workers`."""
        for number, batch in enumerate(batches):
            yield number, search.bests(batch)


def find_bests(
    search: Search,
    points: Sequence[Point],
    journal: Journal | None = None,
    workers: Workers | None = None,
) -> list[Key]:
    """The quickest cut of each condition.

    Args:
        search: The network and the machines.
        points: The conditions.
        journal: What is done already, and is added to.
        workers: Who looks; by default, this process.

    Raises:
        NoLegalCutError: There is no legal cut.
        UsageError: The journal holds what is no cut.
    """
    found = {} if journal is None else {p: _key(v, search) for p, v in journal.known.items()}
    todo = [point for point in points if point not in found]
    # Of a graph with too many cuts a condition takes a flow of its own.
    most = 1 if search.every is None else _AT_ONCE
    batches = [todo[k : k + most] for k in range(0, len(todo), most)]
    for number, keys in (workers or Here()).each(search, batches) if batches else ():
        for point, key in zip(batches[number], keys, strict=True):
            found[point] = key
            if journal is not None:
                journal.add(point, key)
    return [found[point] for point in points]


def _key(value: object, search: Search) -> Key:
    """A cut as the journal has it."""
    layers = len(search.graph)
    try:
        key = msgspec.convert(value, Key)
    except msgspec.ValidationError as error:
        raise UsageError("the unfinished sweep is damaged", why=str(error)) from error
    if not all(0 <= place <= layers for place in (key.prefix, *(i + 1 for i in key.extra))):
        why = f"the network has {layers} layers"
        raise UsageError("the unfinished sweep is damaged", why=why)
    return key
