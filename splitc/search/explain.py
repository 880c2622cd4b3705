# SPDX-License-Identifier: Apache-2.0
"""Why a cut is the one that is taken, or is not: illegal, over a limit, dominated, or slower."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from splitc.ir.cut import Cut
from splitc.ir.graph import Tensor
from splitc.search.pareto import dominator
from splitc.search.problem import CutRow
from splitc.search.table import CutTable


@dataclass(frozen=True)
class Explanation:
    """What a table says of one cut.

    Args:
        table: The cuts it is held against.
        row: Its own price list, whether it is among them or not.
    """

    table: CutTable
    row: CutRow

    @staticmethod
    def of(table: CutTable, cut: Cut) -> Explanation:
        """That of a cut."""
        return Explanation(table, table.row(cut))

    @cached_property
    def chosen(self) -> CutRow | None:
        """The row that `--cut auto` takes; None where there is none."""
        return self.table.chosen

    @property
    def is_chosen(self) -> bool:
        """Whether it is that one."""
        return self.chosen is not None and self.chosen.cut == self.row.cut

    @cached_property
    def rank(self) -> int | None:
        """Its place among the cuts that may be used, from 1; None where it has none."""
        usable = enumerate(self.table.usable, start=1)
        return next((k for k, row in usable if row.cut == self.row.cut), None)

    @cached_property
    def dominated_by(self) -> CutRow | None:
        """The best cut that is no worse in latency, device memory, bytes and energy, and better
        in one of them; None where there is none."""
        others = [row for row in self.table.usable if row.cut != self.row.cut]
        return dominator(self.row, others)

    @property
    def behind(self) -> tuple[float, float, float, float] | None:
        """What it has more than the chosen one: the objective's figure, then head, link, tail.

        Seconds, the first joules where energy is minimised; None where none is chosen, or it.
        """
        best = self.chosen
        if best is None or self.is_chosen:
            return None
        mine, theirs = self.row.cost, best.cost
        aim = self.table.objective
        return (
            mine.value(aim) - theirs.value(aim), mine.head_s - theirs.head_s,
            mine.link_s - theirs.link_s, mine.tail_s - theirs.tail_s,
        )  # fmt: skip

    def made_by(self, tensor: Tensor) -> str:
        """The layer that makes what crosses; the codec makes what the graph has not."""
        graph = self.table.costs.graph
        position = graph.producer.get(tensor.name)
        return "the codec" if position is None else graph.layers[position].name
