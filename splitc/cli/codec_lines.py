# SPDX-License-Identifier: Apache-2.0
"""What codecs that need no training would bring, in a line, and as `--json` has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from splitc.cli import show
from splitc.search.untrained import WIDTHS, what_codecs_bring

if TYPE_CHECKING:
    from rich.text import Text

    from splitc.search.problem import CutRow
    from splitc.search.table import CutTable


class BroughtObject(msgspec.Struct, frozen=True, kw_only=True):
    """The best cut with a codec that needs no training, in seconds or joules, and what it is held
    against: the best cut without one, or the best baseline. `accuracy` is null: only data tell."""

    codec: str
    cut: str
    layers: tuple[str, ...]
    boundary_bytes: int
    objective: float
    against: str
    against_objective: float
    pays: bool
    accuracy: None = None

    @staticmethod
    def of(table: CutTable) -> BroughtObject | None:
        """What is found of a table; None where it has a codec, or none can stand anywhere."""
        found = what_codecs_bring(table)
        if found is None:
            return None
        row = found.best.row
        return BroughtObject(
            codec=str(found.best.codec), cut=row.cut.name, layers=row.cut.layers,
            boundary_bytes=row.cost.boundary_bytes, objective=table.value(row),
            against=found.other.title, against_objective=table.value(found.other), pays=found.pays,
        )  # fmt: skip


def brought_line(table: CutTable) -> Text | None:
    """What fewer bits across would bring, against what is best without; None where nothing is
    to be said."""
    found = what_codecs_bring(table)
    if found is None:
        return None
    best, other = found.best, found.other
    says = (
        f"the cut after {best.row.cut.name} at {best.bits} bits: {_figure(table, best.row)}, "
        f"against {_figure(table, other)} of {other.title}."
    )
    if not found.pays:
        widths = " or ".join(map(str, WIDTHS))
        return show.plain(f"Sending {widths} bits a value brings nothing; {says}")
    return show.plain(
        f"Without training, {says} What that costs in accuracy, only data tell: "
        "--codec auto --calibrate FILE.npz."
    )


def _figure(table: CutTable, row: CutRow) -> str:
    unit = "mJ" if table.objective == "energy" else "ms"
    return f"{table.value(row) * 1e3:,.1f} {unit}"
