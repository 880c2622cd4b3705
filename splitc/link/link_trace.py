# SPDX-License-Identifier: Apache-2.0
"""Recorded links: how bandwidth and loss change with time."""

from __future__ import annotations

import math
import os
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path

from splitc.errors import UsageError, nearest

_MOST_BYTES = 16 * 2**20
_FASTEST_BPS = 1e15
_LONGEST_S = 1e10
_TIMES = {"time_s": 1.0, "time_ms": 1e-3}
_BANDWIDTHS = {"bandwidth_bps": 1.0, "bandwidth_kbit": 1e3, "bandwidth_mbit": 1e6}
_LOSSES = {"loss": 1.0, "loss_percent": 1e-2}
_COLUMNS = (_TIMES, _BANDWIDTHS, _LOSSES)
_HINT = "a header like time_s,bandwidth_mbit,loss; then a number in each column of each row"


@dataclass(frozen=True)
class LinkTrace:
    """A link whose bandwidth and loss change: each row holds until the next, the last for good.

    It begins with its first row, whatever time that has: a trace may come with the hours of
    the day.

    Args:
        times_s: When each row begins, rising [rows].
        bandwidth_bps: Bits a second from then on; 0 where nothing passes, but not in the end.
        loss_rates: Share of packets lost from then on, in [0, 1).

    Raises:
        UsageError: A row is not what it has to be; says which.
    """

    times_s: Sequence[float]
    bandwidth_bps: Sequence[float]
    loss_rates: Sequence[float]

    def __post_init__(self) -> None:
        columns = (self.times_s, self.bandwidth_bps, self.loss_rates)
        if not self.times_s or len({len(one) for one in columns}) > 1:
            raise UsageError("the trace says nothing about a link", why="its columns are of "
                             f"{', '.join(str(len(one)) for one in columns)} rows")  # fmt: skip
        names = [f"row {number}" for number in range(1, len(self.times_s) + 1)]
        _check(names, columns, "trace")
        first_s = self.times_s[0]
        object.__setattr__(self, "times_s", tuple(time - first_s for time in self.times_s))
        object.__setattr__(self, "bandwidth_bps", tuple(map(float, self.bandwidth_bps)))
        object.__setattr__(self, "loss_rates", tuple(map(float, self.loss_rates)))

    @staticmethod
    def read(path: str | os.PathLike[str]) -> LinkTrace:
        """A trace in CSV: time, bandwidth and, where there is one, loss, with their units.

        The first line names the columns, in any order: `time_s` or `time_ms`; `bandwidth_bps`,
        `bandwidth_kbit` or `bandwidth_mbit`, a second; `loss`, a share, or `loss_percent`.
        Without a column of losses none is lost. Lines that begin with `#` are comments.

        Raises:
            UsageError: It cannot be read, a unit is missing, a row has a hole, is out of order,
                or holds what is no bandwidth or no loss.
        """
        where = str(path)
        lines = _lines(Path(path))
        if len(lines) < 2:
            why = "it has no row" if lines else "it is empty"
            raise UsageError("the trace says nothing about a link", at=where, why=why, hint=_HINT)
        header, *rows = lines
        columns = _columns(header[1], where)
        names = [f"line {number}" for number, _ in rows]
        table = [_numbers(*row, len(header[1]), where) for row in rows]
        taken = [
            [row[place] * scale for row in table] if place >= 0 else [0.0] * len(table)
            for place, scale in columns
        ]
        _check(names, taken, where)
        return LinkTrace(*taken)

    def at(self, now_s: float) -> tuple[float, float]:
        """Bits a second and share of packets lost at a time since the trace began."""
        row = self._row(now_s)
        return self.bandwidth_bps[row], self.loss_rates[row]

    def bits(self, since_s: float, until_s: float) -> float:
        """Bits that pass between two times."""
        return self._until(until_s) - self._until(since_s)

    def passed(self, since_s: float, bits: float) -> float:
        """When so many bits have passed, of which the first go at `since_s`."""
        wanted = self._until(since_s) + bits
        row = max(bisect_left(self._sums, wanted) - 1, 0)
        behind_s = (wanted - self._sums[row]) / self.bandwidth_bps[row]
        return max(since_s, self.times_s[row] + behind_s)

    def _row(self, now_s: float) -> int:
        return max(bisect_right(self.times_s, now_s) - 1, 0)

    def _until(self, now_s: float) -> float:
        """Bits that have passed since the trace began."""
        row = self._row(now_s)
        return self._sums[row] + (now_s - self.times_s[row]) * self.bandwidth_bps[row]

    @cached_property
    def _sums(self) -> list[float]:
        """Bits that have passed when each row begins."""
        spans = (after - before for before, after in pairwise(self.times_s))
        each = (s * bps for s, bps in zip(spans, self.bandwidth_bps, strict=False))
        return list(accumulate(each, initial=0.0))


def _check(names: Sequence[str], columns: Sequence[Sequence[float]], where: str) -> None:
    """Raise UsageError with the name of the first row that is none of a link."""
    before_s = -math.inf
    for name, time_s, bps, loss in zip(names, *columns, strict=True):
        why = ""
        if not abs(time_s) <= _LONGEST_S:
            why = f"{time_s:g} s is no time"
        elif time_s <= before_s:
            why = f"its time {time_s:g} s is not after {before_s:g} s, the time before it"
        elif bps and not 1 <= bps <= _FASTEST_BPS:
            why = f"{bps:g} bit/s is no bandwidth"
        elif not 0 <= loss < 1:
            why = f"a loss of {loss:g} is not in [0, 1)"
        if why:
            raise UsageError(f"{name} of the trace is wrong", at=where, why=why)
        before_s = time_s
    if not columns[1][-1]:
        why = "its last bandwidth is 0, and holds for good: nothing would ever pass"
        raise UsageError(f"{names[-1]} of the trace is wrong", at=where, why=why)


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """The lines that are no comments, with their numbers, parted at their commas."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the trace {path}", why=str(error)) from error
    if len(data) > _MOST_BYTES:
        raise UsageError(f"the trace {path} is too large", why=f"it has over {_MOST_BYTES} bytes")
    return [
        (number, [word.strip() for word in line.split(",")])
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]


def _columns(header: Sequence[str], where: str) -> list[tuple[int, float]]:
    """Where time, bandwidth and loss stand, and what to multiply each by; -1 is nowhere."""
    known = [name for units in _COLUMNS for name in units]
    for name in header:
        if name not in known:
            hint = nearest(name, known)
            raise UsageError(f"the trace has a column '{name:.40}'", at=where, hint=hint)
    return [_column(header, units, where) for units in _COLUMNS]


def _column(header: Sequence[str], units: Mapping[str, float], where: str) -> tuple[int, float]:
    found = [name for name in header if name in units]
    if not found and units is _LOSSES:
        return -1, 1.0
    if len(found) != 1:
        what = "no column" if not found else "more than one column"
        hint = f"name one of them {', '.join(units)}"
        raise UsageError(f"the trace has {what} of {next(iter(units))}", at=where, hint=hint)
    return header.index(found[0]), units[found[0]]


def _numbers(line: int, words: Sequence[str], count: int, where: str) -> list[float]:
    """The numbers of a row."""
    if len(words) != count or not all(words):
        why = f"it has {len(words)} columns, the header {count}"
        why = why if len(words) != count else "a column of it is empty"
        raise UsageError(f"line {line} of the trace has a hole", at=where, why=why, hint=_HINT)
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise UsageError(f"line {line} of the trace is no row", at=where, why=str(error)) from error
