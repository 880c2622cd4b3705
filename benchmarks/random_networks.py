# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Do random networks give their right values? So many of them, each whole and cut.

    python benchmarks/random_networks.py --count 1000 --seed 0
    python benchmarks/random_networks.py --count 20 --board rpi4     linked, under emulation

Prints how many held, were refused (by reason), were wrong or crashed. Networks that were wrong or
crashed are written as .onnx into --failed, with the lines of Python that build them beside.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import onnx

# Threads wait by spinning, and these networks are too small for two.
os.environ.setdefault("TVM_NUM_THREADS", "1")
os.environ.setdefault("SPLITC_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.random_networks.differential import WAYS, Feed, bundled, outcome
from tests.random_networks.strategy import seeded

LONGEST_S = 300
"""After which a network hangs."""
Found = tuple[str, str, str]
"""A way, how it went, what was said."""


def tried(seed: int, board: str) -> Iterator[Found]:
    """Every way of one network."""
    network = seeded(seed)
    loaded: list[Feed] = []
    # Simplifying starts a process of its own: for some.
    how, said = outcome(
        lambda: loaded.append(Feed.of(network, simplify=seed % 4 == 0)),
    )
    if not loaded:
        yield "load", how, said
        return
    if not board:
        for name, way in WAYS.items():
            yield name, *outcome(partial(way, loaded[0], seed))
        return
    with tempfile.TemporaryDirectory() as folder:
        way = partial(bundled, loaded[0], board, Path(folder), seed)
        yield f"bundle, {board}", *outcome(way)


def work(connection: Connection, board: str) -> None:
    """Seeds in, what was found out, until there are no more."""
    while (seed := connection.recv()) is not None:
        connection.send([*tried(seed, board)])


class Worker:
    """A process that tries networks; another one where it dies or hangs."""

    def __init__(self, board: str) -> None:
        self.board = board
        self._start()

    def _start(self) -> None:
        here, there = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")
        self.process = spawn.Process(target=work, args=(there, self.board), daemon=True)
        self.process.start()
        there.close()
        self.connection = here

    def tried(self, seed: int) -> list[Found]:
        """Every way of one network, or that the process died."""
        self.connection.send(seed)
        try:
            if self.connection.poll(LONGEST_S):
                return self.connection.recv()
            said = f"no end after {LONGEST_S} s"
        except (EOFError, ConnectionResetError):
            self.process.join()
            said = f"the process ended with {self.process.exitcode}"
        self.process.kill()
        self._start()
        return [("any", "crashed", said)]

    def end(self) -> None:
        """Let the process end."""
        self.connection.send(None)
        self.process.join()


def main() -> None:
    """Draw, try, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first network")
    parser.add_argument("--board", default="", help="link a bundle whose head is for this board")
    parser.add_argument("--failed", type=Path, default=Path("failed"))
    options = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    reasons: Counter[str] = Counter()
    worker = Worker(options.board)
    for seed in range(options.seed, options.seed + options.count):
        for way, how, said in worker.tried(seed):
            counts[way, how] += 1
            if how == "refused":
                reasons[re.sub(r"'t\d+'", "a layer", said)[:160]] += 1
            if how in ("wrong", "crashed"):
                print(f"seed {seed}: {way}: {how}: {said[:300]}", file=sys.stderr, flush=True)
                options.failed.mkdir(parents=True, exist_ok=True)
                network = seeded(seed)
                onnx.save(network.proto(), options.failed / f"{seed}.onnx")
                (options.failed / f"{seed}.py").write_text(repr(network), "utf-8")
    worker.end()
    for way in sorted({way for way, _ in counts}):
        row = [f"{how} {counts[way, how]}" for how in ("held", "refused", "wrong", "crashed")]
        row += [f"no cut {counts[way, 'no cut']}"] * (counts[way, "no cut"] > 0)
        print(f"{way + ':':28}" + ", ".join(row))
    for reason, count in reasons.most_common():
        print(f"{count:6} {reason}")


if __name__ == "__main__":
    main()
