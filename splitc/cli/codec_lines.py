# SPDX-License-Identifier: Apache-2.0
"""What codecs that need no training would bring, in a line, and as `--json` has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich.table import Table

from splitc.cli import show
from splitc.search.codec_choice import in_words
from splitc.search.untrained import WIDTHS, what_codecs_bring

if TYPE_CHECKING:
    from rich.text import Text

    from splitc.search.codec_choice import CodecChoice
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


class TriedObject(msgspec.Struct, frozen=True, kw_only=True):
    """A codec at a cut on samples: `drop` is what it costs, of the `samples` that it was run on;
    `refused` says why it cannot stand there."""

    codec: str
    cut: str
    objective: float
    drop: float
    samples: int
    refused: str
    kept: bool


class ChoiceObject(msgspec.Struct, frozen=True, kw_only=True):
    """What `--codec auto` tried, in order of price; the last is the one that was taken if `kept`.

    `measure` is `arg-max`, or `relative error` where results have no classes."""

    measure: str
    max_drop: float
    samples: int
    tried: tuple[TriedObject, ...]

    @staticmethod
    def of(table: CutTable, choice: CodecChoice) -> ChoiceObject:
        """What was tried."""
        tried = tuple(
            TriedObject(
                codec=str(one.coded.codec), cut=one.coded.row.cut.name,
                objective=table.value(one.coded.row), drop=one.drop, samples=one.samples,
                refused=one.refused, kept=one.kept,
            )
            for one in choice.tried
        )  # fmt: skip
        return ChoiceObject(
            measure=choice.measure, max_drop=choice.max_drop, samples=choice.samples, tried=tried
        )


def print_choice(table: CutTable) -> None:
    """What `--codec auto` tried and what each cost; nothing where that was not asked."""
    choice = table.choice
    if choice is None:
        return
    view = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    view.add_column("bits", justify="right", no_wrap=True)
    view.add_column("cut after", no_wrap=True, overflow="ellipsis")
    view.add_column("total", justify="right", no_wrap=True)
    view.add_column("on the samples")
    for one in choice.tried:
        row, mark = one.coded.row, ": taken" if one.kept else ""
        cells = (str(one.coded.bits), row.cut.name, _figure(table, row))
        view.add_row(*map(show.plain, (*cells, in_words(choice, one) + mark)))
    console = show.out()
    if choice.tried:
        console.print(view)
    if choice.taken is None:
        why = "none keeps it" if choice.tried else "none makes the split cheaper"
        limit = f"at most {choice.max_drop:.3g} of {choice.measure}"
        console.print(show.plain(f"No codec, {limit} on {choice.samples} samples: {why}."))


def brought_line(table: CutTable) -> Text | None:
    """What fewer bits across would bring, against what is best without; None where nothing is
    to be said."""
    found = what_codecs_bring(table) if table.choice is None else None
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
