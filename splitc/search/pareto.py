# SPDX-License-Identifier: Apache-2.0
"""Cuts that no other is better than in everything: the Pareto front of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from splitc.search.problem import CutRow

Figure = Callable[[CutRow], float]
"""What is weighed of a row; less is better."""

FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "latency": lambda row: row.cost.latency_s,
        "device memory": lambda row: float(row.cost.head_peak_bytes),
        "bytes across": lambda row: float(row.cost.boundary_bytes),
        "energy": lambda row: row.cost.energy_j,
    }
)
"""Seconds, bytes, bytes and joules, by what they are called."""


def dominator(
    row: CutRow, others: Sequence[CutRow], figures: Mapping[str, Figure] = FIGURES
) -> CutRow | None:
    """The first of other rows that is no worse in any figure, and better in one; None without."""
    own = [figure(row) for figure in figures.values()]
    for other in others:
        theirs = [figure(other) for figure in figures.values()]
        if theirs != own and all(a <= b for a, b in zip(theirs, own, strict=True)):
            return other
    return None


def front(rows: Sequence[CutRow], figures: Mapping[str, Figure] = FIGURES) -> tuple[CutRow, ...]:
    """The rows that none of the others dominates, in their order; equal rows stay."""
    ordered = sorted(rows, key=lambda row: [figure(row) for figure in figures.values()])
    found: list[CutRow] = []
    for row in ordered:  # what dominates a row is no greater in any figure, so it came before
        if dominator(row, found, figures) is None:
            found.append(row)
    kept = {id(row) for row in found}
    return tuple(row for row in rows if id(row) in kept)
