# SPDX-License-Identifier: Apache-2.0
"""The cut table as people read it, and in words what the split is worth."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rich.table import Table

from splitc.cli import show
from splitc.ir.layer_names import GAP, unique_endings
from splitc.search.pareto import front
from splitc.search.problem import SENT_AS, WHOLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from splitc.search.pareto import Figure
    from splitc.search.problem import CutRow
    from splitc.search.table import CutTable

_TOTALS = {"latency": "total ms", "throughput": "period ms", "energy": "energy mJ"}
_NAME_ROOM = 20
_OP_WIDTH = 14
_SHORTENED = 50


@dataclass(frozen=True)
class ShownRow:
    """A row of the table, and how many more there are that are worth the same."""

    row: CutRow
    more: int = 0


def shown_rows(
    table: CutTable, most: int, *, every: bool, weighed: Sequence[Figure]
) -> list[ShownRow]:
    """The best rows; or every one; or the Pareto front by figures, where some are weighed."""
    if weighed:
        return [ShownRow(row) for row in front(table.usable, weighed)]
    return [*map(ShownRow, table.rows)] if every else best_rows(table, most, table.chosen)


def best_rows(table: CutTable, most: int, chosen: CutRow | None) -> list[ShownRow]:
    """The best rows, the chosen one among them.

    By throughput many cuts are worth the same, what is slowest being neither before nor
    behind them: of those there is the first, or the chosen one.
    """
    if table.objective == "throughput":
        alike = [[*rows] for _, rows in groupby(table.usable, table.value)]
    else:
        alike = [[row] for row in table.usable]
    cut = None if chosen is None else chosen.cut
    found: list[ShownRow] = []
    for rows in alike:
        first = next((row for row in rows if row.cut == cut), rows[0])
        found.append(ShownRow(first, len(rows) - 1))
    shown = found[:most]
    if (
        chosen is not None
        and not is_baseline(table, chosen)
        and all(one.row.cut != cut for one in shown)
    ):
        shown = [*shown[: most - 1], next((o for o in found if o.row.cut == cut), ShownRow(chosen))]
    return shown


def is_baseline(table: CutTable, row: CutRow) -> bool:
    """Whether a row is one of the table's own: all on one side, and no codec there."""
    return row in table.wholes


def not_shown(table: CutTable, rows: Sequence[ShownRow]) -> int:
    """How many cuts of the table are not among these rows, nor as good as one that is."""
    return len(table.rows) - sum(1 + one.more for one in rows)


def print_cuts(table: CutTable, rows: Sequence[ShownRow], chosen: CutRow | None) -> None:
    """Print the table with its baselines; ▸ marks the chosen row, ✗ what cannot be used."""
    console = show.out()
    console.print(_view(table, rows, chosen, console.width), crop=False)


def _view(
    table: CutTable, rows: Sequence[ShownRow], chosen: CutRow | None, width: int
) -> Table:  # fmt: skip
    """The table, as wide as its figures need, and as `width` where names leave room for that."""
    bases = [*map(ShownRow, table.wholes)]
    heads = ["op", "crosses", "head ms", "link ms", "tail ms", _TOTALS[table.objective]]
    cells = [_cells(table, one.row) for one in (*bases, *rows)]
    numbers = [table.number(one.row) for one in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    widths[0] = min(widths[0], _OP_WIDTH)
    number_width = max(map(len, numbers), default=0)
    room = width - 2 - (number_width + 1 if number_width else 0) - sum(w + 1 for w in widths)
    longest = max((len(one.row.cut.name) for one in rows), default=0)
    with_op = room >= min(longest, _NAME_ROOM)
    room = max(room if with_op else room + widths[0] + 1, len(WHOLES["device"]))
    shorten = len(rows) <= _SHORTENED
    names = [_short_name(one.row, room, endings=shorten) for one in rows]
    view = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    view.add_column("", width=1)
    view.add_column("#" if number_width else "", justify="right", no_wrap=True, width=number_width)
    equal = [f"and {one.more:,} as good" if one.more else "" for one in rows]
    name_width = min(room, max(map(len, (WHOLES["device"], *names, *equal))))
    view.add_column("cut after", no_wrap=True, overflow="ellipsis", width=name_width)
    skip = 0 if with_op else 1
    for head, column in [*zip(heads, widths, strict=True)][skip:]:
        justify = "left" if head == "op" else "right"
        view.add_column(head, justify=justify, no_wrap=True, width=column, overflow="ellipsis")
    view.width = 1 + number_width + name_width + sum(widths[skip:]) + len(view.columns) - 1
    for base, line in zip(bases, cells[: len(bases)], strict=True):
        here = base.row == chosen
        view.add_row(
            "▸" if here else "", "", _base_name(base.row), *line[skip:],
            style="bold" if here else "dim",
        )  # fmt: skip
    for one, line, number, name, more in zip(
        rows, cells[len(bases) :], numbers, names, equal, strict=True
    ):  # fmt: skip
        here = chosen is not None and one.row.cut == chosen.cut
        rejected = one.row.rejected is not None
        view.add_row(
            "▸" if here else "✗" if rejected else "", number, show.plain(name),
            *map(show.plain, line[skip:]), style="bold" if here else "dim" if rejected else "",
        )  # fmt: skip
        if more:
            view.add_row("", "", more, style="dim")
    return view


def _base_name(row: CutRow) -> str:
    """All on one side; a way of sending to the server stands under the server's own row."""
    return WHOLES[row.kind] if row.sent is None else f"– {SENT_AS[row.sent.how]}"


def _cells(table: CutTable, row: CutRow) -> list[str]:
    """Operator, what crosses, the times, and what the table is ordered by."""
    cost = row.cost
    crosses = show.short_bytes(cost.boundary_bytes) if row.kind != "device" else "–"
    if row.kind == "multi":
        crosses += f" in {len(row.boundary)}"
    figures = (cost.head_s, cost.link_s, cost.tail_s, table.value(row))
    return [_op(row), crosses, *map(show.milliseconds, figures)]


def _op(row: CutRow) -> str:
    """Operator of the last head layer; empty where there are several, or a baseline."""
    graph = row.cut.graph
    alone = row.kind not in WHOLES and len(row.cut.layers) == 1
    return graph.layer(row.cut.layers[0]).op if alone else ""


def _short_name(row: CutRow, room: int, *, endings: bool) -> str:
    """The cut's name where there is room, or ends of its layers' names that `--cut` takes.

    Where those are too long as well, the middle is left out: names differ in their ends.

    Args:
        row: The row.
        room: Characters there are.
        endings: Whether to look for the ends, which takes time for every row.
    """
    name = WHOLES.get(row.kind, row.cut.name)
    if len(name) > room and endings:
        known = row.cut.graph.index
        choices = [unique_endings(layer, known) for layer in row.cut.layers]
        if len(choices) == 1:
            name = next((end for end in choices[0] if len(end) <= room), choices[0][-1])
        else:
            name = ",".join(min(ends, key=len) for ends in choices)
    if len(name) > room:
        end = (room - 1) * 2 // 3
        name = name[: room - 1 - end] + GAP + name[-end:]
    return name


def advice(table: CutTable, row: CutRow) -> Text:
    """What the split is worth against the baselines, and what would make it worth more."""
    energy = table.objective == "energy"
    unit = "mJ" if energy else "ms"
    if row.kind in WHOLES:
        return show.plain(_of_whole(table, row, unit))
    base = table.baseline
    gain = (table.value(base) - table.value(row)) * 1e3
    if gain > 0:
        return show.plain(f"The split saves {gain:.1f} {unit} against {base.title}.")
    if table.usable and table.split_pays:
        best = (table.value(table.baseline) - table.value(table.best)) * 1e3
        return show.plain(
            f"This split costs {-gain:.1f} {unit} more than {base.title}; the cut after "
            f"{table.best.cut.name} saves {best:.1f} {unit}."
        )
    cost = f"this one costs {-gain:.1f} {unit} more"
    kept = f"{base.title}" if base.sent else f"keeping {base.title} (--cut {base.kind})"
    return show.plain(f"No split beats {kept}: {cost}. {_changes(table)}")


def _of_whole(table: CutTable, row: CutRow, unit: str) -> str:
    """What all on one side is worth against the best split and the other side."""
    others = [one for one in table.baselines if one.kind != row.kind]
    other = min((*others, *table.usable[:1]), key=table.value)
    gain = (table.value(other) - table.value(row)) * 1e3
    if gain >= 0:
        return f"No split: {row.title} saves {gain:.1f} {unit} against {other.title}."
    command = other.kind if other.kind in WHOLES else "auto"
    how = "" if other.sent else f" (--cut {command})"
    return f"No split: {row.title} costs {-gain:.1f} {unit} more than {other.title}{how}."


def _changes(table: CutTable) -> str:
    """What would make a split pay, in a sentence."""
    from splitc.search.advice import what_would_pay

    found = what_would_pay(table)
    ways: list[str] = []
    if found.bandwidth_bps is not None:
        faster = found.bandwidth_bps > table.costs.link.bandwidth_bps
        link = "with a faster link" if faster else "over a slower link"
        ways.append(f"{link} (--bandwidth {_rate(found.bandwidth_bps)})")
    if found.times_fewer is not None:
        ways.append(f"with 1/{found.times_fewer} of the bytes across (--codec)")
    ways += [f"by --objective {objective}" for objective in found.objectives]
    if not ways:
        fewer = "" if table.problem.codec is not None else ", fewer bytes across"
        return f"No other link{fewer} or other objective makes one pay."
    return f"One pays {', or '.join(ways)}."


def _rate(bandwidth_bps: float) -> str:
    """A bandwidth as `--bandwidth` takes it."""
    for size, unit in ((1e9, "Gbit"), (1e6, "Mbit"), (1e3, "kbit")):
        if bandwidth_bps >= size:
            return f"{bandwidth_bps / size:g}{unit}"
    return f"{bandwidth_bps:g}bit"
