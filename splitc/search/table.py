# SPDX-License-Identifier: Apache-2.0
"""The cut table: the cuts that were looked at, best first, and what they are held against."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from splitc.cost.prices import Costs, Objective
from splitc.cost.topology import DEVICE, SERVER
from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.layer_names import first_piece
from splitc.search.cutter import Solution
from splitc.search.problem import CutRow, Problem

if TYPE_CHECKING:
    from splitc.search.codec_choice import CodecChoice

BEST = "best"
"""What is asked for by that name is a split, or none where none is better."""
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class CutTable:
    """The cuts that were looked at, cheapest first, and the baselines.

    Args:
        problem: What the rows answer.
        rows: Proper cuts; usable ones first, in order of the objective.
        device: Everything on the device.
        server: Everything on the server, its inputs sent as the network reads them.
        solution: The best cut that may be used and its proof; None where there is none.
        named: Whether a cutter was asked for by name, or samples chose the codec: then `auto`
            is what was found so, which may be another cut than the first row.
        exhaustive: Whether every downset of the graph is among the rows; with a codec,
            whether every cut after a layer that no edge passes by is.
        own: The cut that the model has already, which `auto` keeps.
        sent: Everything on the server, its inputs sent in each way that one would really send
            them; that of `server` among them where it is one.
        choice: How the codec was chosen by samples, where that was asked for.
    """

    problem: Problem
    rows: tuple[CutRow, ...]
    device: CutRow
    server: CutRow
    solution: Solution | None = None
    named: bool = False
    exhaustive: bool = False
    own: Cut | None = None
    sent: tuple[CutRow, ...] = ()
    choice: CodecChoice | None = None

    @property
    def costs(self) -> Costs:
        """The prices behind the rows."""
        return self.problem.costs

    @property
    def objective(self) -> Objective:
        """What is minimised."""
        return self.problem.objective

    def row(self, cut: Cut) -> CutRow:
        """The row of any cut of the graph, whether it is in the table or not."""
        return self.problem.row(cut)

    @property
    def usable(self) -> tuple[CutRow, ...]:
        """The rows that may be used, best first."""
        return tuple(row for row in self.rows if row.rejected is None)

    @property
    def best(self) -> CutRow:
        """The best proper cut.

        Raises:
            NoLegalCutError: No row may be used; says why of the most promising.
        """
        for row in self.rows:
            if row.rejected is None:
                return row
        if not self.rows:
            graph = self.problem.graph
            raise NoLegalCutError(
                "the model cannot be cut in two",
                why=f"it has {len(graph) - graph.input_count} layer(s) "
                "and no place where tensors can cross a link",
            )
        raise self._nothing_usable()

    def _nothing_usable(self) -> NoLegalCutError:
        """What keeps every row from being used: the limits that the nearest one breaks."""
        codec = self.problem.codec
        what = "no cut keeps every limit"
        if codec is not None:
            what = "no cut takes the codec and keeps every limit"
        left_out = "; too many cuts to try them all: name one with --cut"
        if self.exhaustive or not (self.problem.why_no_sum or self.problem.limited):
            left_out = ""  # a sum without limits has a minimum cut, or no cut at all
        near = self.nearest
        if near is None:
            first = self.rows[0]
            other = "other pins" if self.problem.pinned else "another cut"
            if self.problem.why_results_here(first.cut) == first.rejected:
                other = "leave --results server out"
            return NoLegalCutError(
                what, at=f"after {first.cut.name}", why=first.rejected or "",
                hint=f"{other if codec is None else 'another codec'}{left_out}",
            )  # fmt: skip
        broken = self.problem.limits.broken(near.cut, near.cost)
        by = "; ".join(f"{one.words} ({one.off})" for one in broken)
        options = " and ".join(f"{one.option} {one.enough}" for one in broken)
        less = "" if codec is None else ", or another codec"
        return NoLegalCutError(
            what, at=f"after {near.cut.name}, which comes nearest", why=by,
            hint=f"it can be used with {options}{less}{left_out}",
        )  # fmt: skip

    @property
    def nearest(self) -> CutRow | None:
        """The row that misses its limits by the least share, and nothing else; None without one.

        Of a row that misses several the largest counts; of equals the best by the objective.
        """
        limits = self.problem.limits
        missed = {
            k: max(one.excess for one in broken)
            for k, row in enumerate(self.rows)
            if (broken := limits.broken(row.cut, row.cost)) and row.rejected == broken[0].words
        }
        best = min(missed, key=lambda k: (missed[k], self.value(self.rows[k])), default=None)
        return None if best is None else self.rows[best]

    @property
    def wanted(self) -> Cut | None:
        """The cut that `--cut auto` means, whether it may be used or not; None without any."""
        if self.own is not None:
            return self.own
        if self.named and self.solution is not None:
            return self.solution.where.cut
        return self.usable[0].cut if self.usable else None

    @property
    def chosen(self) -> CutRow | None:
        """The row of `wanted`; None without any."""
        return None if self.wanted is None else self.row(self.wanted)

    @property
    def auto(self) -> CutRow:
        """The row that `--cut auto` means: the model's own cut, a named cutter's, or the best.

        Raises:
            NoLegalCutError: It may not be used; says why.
        """
        cut = self.wanted
        if cut is None:
            return self.best
        row = self.row(cut)
        if row.rejected is not None:
            raise NoLegalCutError(
                "the model's own cut may not be used" if self.own else "its cut may not be used",
                at=f"after {row.cut.name}", why=row.rejected,
                hint="relax the limit, or name another with --cut",
            )  # fmt: skip
        return row

    def row_called(self, text: str) -> CutRow:
        """The row that is meant by names of layers with commas between, or by its number.

        `device`, or `none`, is the whole network there, `server` the whole network there, and
        `best` the cheapest of these two and what `auto` means. Layers and outermost modules
        come before numbers and these words.

        Raises:
            UsageError: No layer is called so, or several are; or there is no such row.
            NoLegalCutError: `best`, and nothing keeps every limit.
        """
        if text not in self._first_pieces:
            if _NUMBER.fullmatch(text):
                if int(text) > len(self.rows):
                    hint = "`splitc cuts MODEL --all` numbers them"
                    raise UsageError(f"there is no layer '{text}', nor cut {text}", hint=hint)
                return self.rows[int(text) - 1]
            if text in (DEVICE, "none"):
                return self.problem.all_on_device()
            if text == SERVER:
                return self.problem.all_on_server()
            if text == BEST:
                return self.best_of_all
        return self.row(Cut.named(self.problem.graph, text))

    @property
    def best_of_all(self) -> CutRow:
        """The cheapest of what `auto` means and the whole network on one side.

        Raises:
            NoLegalCutError: Nothing keeps every limit.
        """
        wholes = (self.problem.all_on_device(), self.problem.all_on_server())
        usable = [row for row in wholes if row.rejected is None]
        if not usable or (self.wanted and self.row(self.wanted).rejected is None):
            usable.append(self.auto)
        return min(usable, key=self.value)

    def number(self, row: CutRow) -> str:
        """What `row_called` takes for a row; "" where a layer is called so, or it has none."""
        place = self._places.get((row.cut.prefix, row.cut.extra))
        return "" if place is None or str(place) in self._first_pieces else str(place)

    @cached_property
    def _places(self) -> dict[tuple[int, tuple[int, ...]], int]:
        return {(row.cut.prefix, row.cut.extra): k for k, row in enumerate(self.rows, start=1)}

    @cached_property
    def _first_pieces(self) -> frozenset[str]:
        """What layers and outermost modules are called."""
        names = self.problem.graph.index
        return frozenset(names) | {first_piece(name) for name in names}

    def value(self, row: CutRow) -> float:
        """The figure the table is ordered by."""
        return row.cost.value(self.objective)

    @property
    def baselines(self) -> tuple[CutRow, ...]:
        """What one would do without a split: all on the device, or all on the server with its
        inputs sent in each way that fits."""
        return (self.device, *(self.sent or (self.server,)))

    @property
    def wholes(self) -> tuple[CutRow, ...]:
        """What `--cut device` and `--cut server` build, then how else one would send to a server
        that runs all."""
        return (self.device, self.server, *(row for row in self.sent if row.sent is not None))

    @property
    def baseline(self) -> CutRow:
        """The best of the baselines; of equals the first."""
        return min(self.baselines, key=self.value)

    @cached_property
    def split_pays(self) -> bool:
        """Whether the best proper cut beats every baseline."""
        return self.value(self.best) < self.value(self.baseline)
