# SPDX-License-Identifier: Apache-2.0
"""What does splitc's own code take on this machine: whole networks, and by kind of layer?"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from board_fit import Measured
from kinds import kind_of_kernel, kinds_of_layers
from sides import PAUSE_S, Worker, prepare

from splitc.ir.graph import LayerGraph


@dataclass
class _Running:
    """A network loaded in a process of its own, and its seconds so far."""

    name: str
    graph: LayerGraph
    worker: Worker
    kinds: dict[str, str]
    whole_s: list[float] = field(default_factory=list[float])
    kind_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def measure(
    names: Sequence[str], board: str, threads: int, *, rounds: int, batch_s: float
) -> list[Measured]:
    """Medians over interleaved rounds, each network compiled and alone in its process.

    Args:
        names: Networks.
        board: What they are compiled for: code that runs on this machine.
        threads: Threads of each.
        rounds: How often it is each network's turn.
        batch_s: Seconds of whole runs in a turn; as long again with every kernel timed.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as processes:
        running = [_start(name, board, threads, Path(folder), processes) for name in names]
        for _ in range(rounds):
            for network in running:
                _turn(network, batch_s)
    return [
        Measured(
            one.name,
            1e3 * statistics.median(one.whole_s),
            {kind: 1e3 * statistics.median(seconds) for kind, seconds in one.kind_s.items()},
            one.graph,
            kinds_of_layers(one.graph),
        )
        for one in running
    ]


def _start(name: str, board: str, threads: int, folder: Path, processes: ExitStack) -> _Running:
    network = prepare(name, folder)
    part = folder / f"{name}.part"
    with Worker("splitc", threads) as worker:
        made = worker.ask("compile", model=str(network.simplified), board=board, part=str(part))
    kernels: list[dict[str, Any]] = made["kernels"]
    worker = processes.enter_context(Worker("splitc", threads))
    worker.ask("load", part=str(part), inputs=str(network.inputs))
    for path in (network.original, network.simplified):
        path.unlink()
    kinds = {kernel["name"]: kind_of_kernel(kernel, network.graph) for kernel in kernels}
    return _Running(name, network.graph, worker, kinds)


def _turn(network: _Running, batch_s: float) -> None:
    time.sleep(PAUSE_S)
    count = max(1, min(200, int(batch_s / network.worker.run(1)[0])))
    network.whole_s += network.worker.run(count)
    runs: list[dict[str, list[float]]] = network.worker.ask("functions", count=count)
    for run in runs:
        spent: dict[str, float] = defaultdict(float)
        for function, seconds in run.items():
            if function in network.kinds:
                spent[network.kinds[function]] += sum(seconds)
        for kind, seconds in spent.items():
            network.kind_s[kind].append(seconds)
