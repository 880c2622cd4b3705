# SPDX-License-Identifier: Apache-2.0
"""What do the heads and tails of every cut of a network take, as predicted and as measured?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cut_list import SIDES, WHOLE, read_side
from cut_parts import exact_cuts, server_board
from cut_score import Option, PartError
from sides import PAUSE_S, Worker

from common import Others, machine
from splitc.cost.board import Board
from splitc.cost.prices import CostModel
from splitc.cost.topology import DEVICE, SERVER
from splitc.ir.graph import LayerGraph
from splitc.ir.model import Network
from splitc.search.problem import WHOLES, CutRow
from splitc.search.scenario import Scenario

BATCH_S = 0.01
"""Of runs of a part in a round, if one does not take longer."""


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
    """Measured seconds of a network's parts: medians of the even and of the odd rounds.

    `halves` has them by side, then by the name of the cut. The device's are of one thread, as
    they were.
    """

    network: str
    machine: str
    compiler: str
    rounds: int
    others: float
    halves: dict[str, dict[str, tuple[float, float]]]

    def seconds(self, side: str, cut: str, half: int | None = None) -> float:
        """What a part takes, of one half of the rounds or of both."""
        found = self.halves[side][cut]
        return statistics.fmean(found) if half is None else found[half]


def measure(name: str, folders: Mapping[str, Path], *, rounds: int) -> Times:
    """Measure all parts of a network in turn, round after round, one side after the other."""
    busy, found = Others(), {side: list[list[list[float]]]() for side in SIDES}
    threads = {DEVICE: 1, SERVER: server_board().cores}
    with Worker("parts", threads[DEVICE]) as heads, Worker("parts", threads[SERVER]) as tails:
        workers = {DEVICE: heads, SERVER: tails}
        for side, worker in workers.items():
            assert worker.ask("load", folder=str(folders[side])) == threads[side]
        for _ in range(rounds):
            for side, worker in workers.items():
                time.sleep(PAUSE_S)
                found[side].append(worker.ask("round", batch_s=BATCH_S))
    halves = {
        side: {part.cut: _halves(k, found[side]) for k, part in enumerate(read_side(path).parts)}
        for side, path in folders.items()
    }
    compiler = read_side(folders[DEVICE]).compiler
    return Times(name, machine(), compiler, rounds, busy.share(), halves)


def _halves(part: int, rounds: Sequence[Sequence[Sequence[float]]]) -> tuple[float, float]:
    """A part's median in the even and in the odd rounds."""
    each = [[run for one in rounds[start::2] for run in one[part]] for start in (0, 1)]
    return statistics.median(each[0]), statistics.median(each[1] or each[0])


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
