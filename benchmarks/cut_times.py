# SPDX-License-Identifier: Apache-2.0
"""What do the heads and tails of every cut of a network take, as predicted and as measured?"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from cut_list import SIDES, WHOLE
from cut_parts import exact_cuts
from cut_score import Option, PartError

import splitc
from splitc.cost.board import Board
from splitc.cost.prices import CostModel
from splitc.cost.topology import DEVICE, SERVER
from splitc.ir.graph import LayerGraph
from splitc.ir.model import Network
from splitc.search.problem import WHOLES, CutRow
from splitc.search.scenario import Scenario

CALM = 1.1
"""Times what the whole network takes at best: more says that something took the machine's time."""


def calm_rounds(before: Sequence[float], after: Sequence[float]) -> list[int]:
    """The rounds around which the whole network took what it takes at best, but for a tenth.

    Two at least: a virtual machine's cores may be two threads of one core for a while, and then
    another's again, which no count of its own tells.

    Args:
        before: Seconds of the whole network before each round.
        after: The same behind it.
    """
    around = [max(pair) for pair in zip(before, after, strict=True)]
    least = min((*before, *after), default=0.0)
    order = sorted(range(len(around)), key=lambda k: around[k])
    calm = [k for k in order if around[k] <= CALM * least]
    return sorted(calm if len(calm) > 1 else order[:2])


@dataclass(frozen=True)
class Slowed:
    """A cost model's times, so many times as long.

    Args:
        model: It.
        factor: How many times.
    """

    model: CostModel
    factor: float

    @property
    def label(self) -> str:
        """Where the figures come from."""
        return f"{self.model.label}, times {self.factor:g}"

    @property
    def board(self) -> Board:
        """The machine."""
        return self.model.board

    def seconds(self, graph: LayerGraph) -> tuple[float, ...]:
        """Seconds of each layer."""
        return tuple(self.factor * each for each in self.model.seconds(graph))


class Times(msgspec.Struct, frozen=True):
    """Measured times of a network's parts.

    `rounds` has seconds, a median for each round, by side, then by the name of the cut; the
    device's are of one thread, as they were. `before` has those of the whole network before each
    round, which `rounds` has at its end.
    """

    network: str
    machine: str
    compiler: str
    before: dict[str, list[float]]
    rounds: dict[str, dict[str, list[float]]]

    def calm(self, side: str) -> list[int]:
        """The rounds that count."""
        return calm_rounds(self.before[side], self.rounds[side][WHOLE])

    def seconds(self, side: str, cut: str, half: int | None = None) -> float:
        """What a part takes: the median of the calm rounds, or of every second of them."""
        every = self.rounds[side][cut]
        found = [every[k] for k in self.calm(side)]
        return statistics.median(found if half is None else found[half::2] or found)


@dataclass(frozen=True)
class Cuts:
    """A network's cuts and what their parts take."""

    name: str
    graph: LayerGraph
    rows: tuple[CutRow, ...]
    times: Times

    @staticmethod
    def of(name: str, network: Network, times: Times) -> Cuts:
        """The cuts of a network that was measured."""
        return Cuts(name, network.graph, tuple(exact_cuts(network)), times)

    def options(self, scenario: Scenario, slower: float) -> list[Option]:
        """Every cut and both sides alone, predicted and measured, over a scenario's link."""
        costs = scenario.problem(self.graph).costs
        found: list[Option] = []
        for row in self.rows:
            cost, name = costs.of(row.cut), row.cut.name
            even, odd = (cost.link_s + sum(self._parts(row, slower, k).values()) for k in (0, 1))
            found.append(Option(WHOLES.get(row.kind, name), cost.latency_s, (even, odd)))
        return found

    def _parts(self, row: CutRow, slower: float, half: int | None) -> dict[str, float]:
        """Measured seconds of the parts of a cut, by side."""
        name = WHOLE if row.kind in SIDES else row.cut.name
        sides = [row.kind] if row.kind in SIDES else SIDES
        factor = {DEVICE: slower, SERVER: 1.0}
        return {side: factor[side] * self.times.seconds(side, name, half) for side in sides}

    def left_out(self, scenario: Scenario) -> float:
        """The share that a cut across several tensors, which is not measured, is predicted to save.

        0 where `splitc.find_cuts` takes one that is measured.
        """
        table = splitc.find_cuts(self.graph, scenario=scenario)
        least = min(table.value(table.row(row.cut)) for row in self.rows)
        return 1 - min(1.0, table.value(table.best_of_all) / least)

    def errors(self, scenario: Scenario, slower: float) -> list[PartError]:
        """How far off the predicted times of its parts are."""
        costs = scenario.problem(self.graph).costs
        pairs: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
        for row in self.rows:
            cost = costs.of(row.cut)
            predicted = {DEVICE: cost.head_s, SERVER: cost.tail_s}
            for side, measured in self._parts(row, slower, None).items():
                pairs[side].append((predicted[side], measured))
        return [PartError.of(self.name, side, pairs[side]) for side in SIDES]
