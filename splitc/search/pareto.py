# SPDX-License-Identifier: Apache-2.0
"""Cuts that no other is better than in everything: the Pareto front of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from splitc.errors import UsageError, one_of
from splitc.search.problem import CutRow


@dataclass(frozen=True)
class Figure:
    """What is weighed of a row.

    Args:
        name: As `--by` has it.
        title: What it is, with its unit.
        of: Its value, in that unit.
        more: Whether more is better; otherwise less is.
    """

    name: str
    title: str
    of: Callable[[CutRow], float]
    more: bool = False

    def weighed(self, row: CutRow) -> float:
        """Its value, or that below nothing: less is better."""
        return -self.of(row) if self.more else self.of(row)


LATENCY = Figure("latency", "latency (ms)", lambda row: row.cost.latency_s * 1e3)
MEMORY = Figure("memory", "device memory (MB)", lambda row: row.cost.head_peak_bytes / 1e6)
BYTES = Figure("bytes", "bytes across (kB)", lambda row: row.cost.boundary_bytes / 1e3)
ENERGY = Figure("energy", "energy of the device (mJ)", lambda row: row.cost.energy_j * 1e3)
DEPTH = Figure("depth", "layers on the device", lambda row: float(row.cut.depth), more=True)
FIGURES = (LATENCY, MEMORY, BYTES, ENERGY, DEPTH)
"""All there are. The deeper a cut, the less of the input can be told from what crosses."""
USUAL = (LATENCY, MEMORY, BYTES, ENERGY)
"""Those that are weighed where nothing else is said: almost no cut is both deeper than another
and lighter, so that depth beside memory leaves almost all of them."""


def figures_named(text: str) -> tuple[Figure, ...]:
    """Figures from their names with commas between.

    Raises:
        UsageError: An unknown name, one twice, or only one.
    """
    known = {each.name: each for each in FIGURES}
    names = [one_of([*known], name.strip(), "figure of a cut") for name in text.split(",")]
    if len({*names}) < len(names) or len(names) < 2:
        raise UsageError(f"--by {text}", hint=f"two or more of: {','.join(known)}")
    return tuple(known[name] for name in names)


def dominator(
    row: CutRow, others: Sequence[CutRow], figures: Sequence[Figure] = USUAL
) -> CutRow | None:
    """The first of other rows that is no worse in any figure, and better in one; None without."""
    own = [figure.weighed(row) for figure in figures]
    for other in others:
        theirs = [figure.weighed(other) for figure in figures]
        if theirs != own and all(a <= b for a, b in zip(theirs, own, strict=True)):
            return other
    return None


def front(rows: Sequence[CutRow], figures: Sequence[Figure] = USUAL) -> tuple[CutRow, ...]:
    """The rows that none of the others dominates, in their order; equal rows stay."""
    ordered = sorted(rows, key=lambda row: [figure.weighed(row) for figure in figures])
    found: list[CutRow] = []
    for row in ordered:  # what dominates a row is no greater in any figure, so it came before
        if dominator(row, found, figures) is None:
            found.append(row)
    kept = {id(row) for row in found}
    return tuple(row for row in rows if id(row) in kept)
