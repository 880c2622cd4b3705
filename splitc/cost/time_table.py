# SPDX-License-Identifier: Apache-2.0
"""Times of layers in a table that anyone can write: CSV with a row a layer."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from splitc.cost.profile import SCHEMA, Profile, read_bounded
from splitc.cost.topology import DEVICE, SERVER
from splitc.errors import UsageError, nearest

LAYER = ("layer", "name", "node")
COLUMNS = {DEVICE: ("device_ms", "head_ms", "ms", "avg_ms"), SERVER: ("server_ms", "tail_ms")}
"""What a column may be called: milliseconds of one run on each side."""
_EXAMPLE = "layer,device_ms,server_ms"
_MOST_MS = 1e9
_SEPARATORS = ",;\t"


@dataclass(frozen=True)
class TimeTable:
    """What layers take on each side.

    Args:
        path: The file.
        sides: Milliseconds by layer, by the sites' names; only sides that have a column.
    """

    path: str
    sides: dict[str, dict[str, float]] = field(repr=False)

    def profile(self, side: str) -> Profile:
        """The times of one side.

        Raises:
            UsageError: It has none.
        """
        if side not in self.sides:
            names = ", ".join(COLUMNS[side])
            raise UsageError(
                f"'{self.path}' has no times of the {side}", hint=f"name a column one of: {names}"
            )
        return Profile(
            schema=SCHEMA, kind="splitc-profile", machine=f"the {side} of {self.path}",
            layers=self.sides[side],
        )  # fmt: skip


def read_table(path: str | Path) -> TimeTable:
    """A table of times: its first line names the columns, a layer's and one or both sides'.

    Separated by commas, semicolons or tabs. An empty cell is a layer that was not measured.

    Raises:
        UsageError: There is no such file, it is too large, or no such table; says which line.
    """
    name = Path(path).name
    try:
        text = read_bounded(path).decode("utf-8-sig")
        rows = _rows(text)
        head = [cell.strip().lower() for cell in next(rows, (0, [""]))[1]]
        places = _places(name, head)
        sides: dict[str, dict[str, float]] = {side: {} for side in COLUMNS if side in places}
        for line, cells in rows:
            _take(name, line, cells, places, sides)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"'{name}' is no table of times", why=str(error)) from error
    if not any(sides.values()):
        raise UsageError(f"'{name}' has no times", hint=f"lines like {_EXAMPLE}")
    return TimeTable(name, sides)


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Lines that hold something, with their numbers."""
    first = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    return ((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))


def _places(name: str, head: Sequence[str]) -> dict[str, int]:
    """Where the layer's name and each side's times are."""
    found: dict[str, int] = {}
    for what, known in (("layer", LAYER), *COLUMNS.items()):
        columns = [k for k, cell in enumerate(head) if cell in known]
        if len(columns) > 1:
            raise UsageError(f"'{name}' has two columns for the {what}")
        found |= dict.fromkeys([what] * len(columns), *columns)
    if "layer" not in found or len(found) == 1:
        every = [*LAYER, *(one for known in COLUMNS.values() for one in known)]
        strange = next((cell for cell in head if cell not in every), "")
        raise UsageError(
            f"'{name}' is no table of times", why=f"its first line is '{','.join(head)[:80]}'",
            hint=nearest(strange, every) or f"the first line names columns: {_EXAMPLE}",
        )  # fmt: skip
    return found


def _take(
    name: str, line: int, cells: Sequence[str], places: dict[str, int],
    sides: dict[str, dict[str, float]],
) -> None:  # fmt: skip
    """Read one layer's line."""
    at = f"line {line}"
    if len(cells) <= max(places.values()):
        raise UsageError(f"'{name}' has a line of {len(cells)} cells", at=at)
    layer = cells[places["layer"]].strip()
    if not layer:
        raise UsageError(f"'{name}' has times of no layer", at=at)
    for side, times in sides.items():
        cell = cells[places[side]].strip()
        if layer in times:
            raise UsageError(f"'{name}' has layer '{layer}' twice", at=at)
        if cell:
            times[layer] = _milliseconds(name, at, cell)


def _milliseconds(name: str, at: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _MOST_MS:
        hint = "milliseconds as a plain number, like 2.5"
        raise UsageError(f"'{name}' has no time '{cell[:40]}'", at=at, hint=hint)
    return value
