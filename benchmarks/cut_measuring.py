# SPDX-License-Identifier: Apache-2.0
"""What do all parts of a network take? Measured in turn, so that what slows down slows all.

A turn waits while the whole network takes longer than it did: the machine is another's then.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from cut_list import WHOLE, CompiledSide, read_side
from cut_parts import server_board
from cut_times import CALM, Times, calm_rounds
from sides import PAUSE_S, Worker

from common import machine
from splitc.cost.topology import DEVICE, SERVER

BATCH_S = 0.01
"""Of runs of a part in a round, if one does not take longer."""


@dataclass
class _Side:
    """A network's parts for one side, in a process of their own, and their seconds so far."""

    listed: CompiledSide
    worker: Worker
    before: list[float] = field(default_factory=list[float])
    rounds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    @staticmethod
    def load(folder: Path, threads: int, processes: ExitStack) -> _Side:
        """Start the process, and load what was compiled."""
        worker = processes.enter_context(Worker("parts", threads))
        assert worker.ask("load", folder=str(folder)) == threads
        listed = read_side(folder)
        return _Side(listed, worker, rounds={part.cut: [] for part in listed.parts})

    @property
    def calm(self) -> list[int]:
        """The rounds that count so far."""
        return calm_rounds(self.before, self.rounds[WHOLE])

    def lacks(self, rounds: int) -> bool:
        """Whether fewer rounds count so far."""
        return len(self.calm) < rounds or len(self.before) < 2

    def turn(self) -> None:
        """Measure all parts, or nothing where the whole network takes longer than it did."""
        time.sleep(PAUSE_S)
        before = statistics.median(self.worker.ask("whole", batch_s=BATCH_S))
        known = (*self.before, *self.rounds[WHOLE])
        if len(self.before) > 1 and before > CALM * min(known):
            return
        self.before.append(before)
        runs: list[list[float]] = self.worker.ask("round", batch_s=BATCH_S)
        for found, seconds in zip(self.rounds.values(), runs, strict=True):
            found.append(statistics.median(seconds))


def measure(
    name: str, of: Mapping[str, Path], rounds: int, minutes: float, keep: Callable[[Times], None]
) -> None:
    """Measure a network's parts until enough rounds count, or the time is over.

    Args:
        name: The network's.
        of: Where its parts are, by side.
        rounds: How many are to count for every part.
        minutes: No turn begins later, but for the first two.
        keep: Called with its times again and again.
    """
    threads = {DEVICE: 1, SERVER: server_board().cores}
    with ExitStack() as processes:
        sides = {side: _Side.load(path, threads[side], processes) for side, path in of.items()}
        end = time.monotonic() + 60 * minutes
        while True:
            lacking = [one for one in sides.values() if one.lacks(rounds)]
            if time.monotonic() > end:
                lacking = [one for one in lacking if len(one.before) < 2]
            if not lacking:
                return
            for one in lacking:
                one.turn()
            keep(_times(name, sides))
            least = min(len(one.calm) for one in sides.values())
            print(f"  {name}: {least} of {rounds} rounds", flush=True)


def _times(name: str, of: Mapping[str, _Side]) -> Times:
    return Times(
        name, machine(), of[DEVICE].listed.compiler,
        {side: one.before for side, one in of.items()},
        {side: one.rounds for side, one in of.items()},
    )  # fmt: skip
