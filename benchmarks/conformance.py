# SPDX-License-Identifier: Apache-2.0
"""How many of the test cases that onnx carries are right, refused by name, wrong, crashed?

The node, simple, pytorch-converted and pytorch-operator cases of onnx.backend.test, which
nobody here wrote, through the path of a bundle: read, refuse, split at a cut, lower, compile
for this machine, link, run by the runner, and compared with the case's own data within the
case's own tolerance. Where the case's own values are refuted (onnx's reference gives others in
float64, by more than that tolerance), those are the right ones. What has no legal cut is compiled
whole. A case counts in its best form: with all inputs handed in, or with all but the first stored;
with a layer in front, or without.

The bar is of the cases that hold only tensors of fixed shape and numeric types and that
onnxruntime runs; others stand apart by reason (conformance_apart.py).

`--resume FILE` keeps each case's outcome in a file and leaves out those it has already.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from conformance_apart import BAR
from conformance_cases import names
from conformance_run import CRASHED, PASSED, REFUSED, WRONG, Outcome

from common import finish, parser, said

WORKER = Path(__file__).with_name("conformance_run.py")
OUTCOMES = (PASSED, REFUSED, WRONG, CRASHED)


@dataclass
class _Worker:
    """A process that tries one case after another."""

    script: Path
    fast: bool
    process: subprocess.Popen[str] = field(init=False)
    case: str = ""
    since: float = 0.0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start the process."""
        command = [sys.executable, str(self.script), *(["--fast"] if self.fast else [])]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TVM_NUM_THREADS": "1", "SPLITC_NUM_THREADS": "1"},
        )  # fmt: skip

    def give(self, case: str) -> None:
        """Hand it a case."""
        self.case, self.since = case, time.monotonic()
        assert self.process.stdin is not None
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()

    def answer(self) -> Outcome:
        """What became of the case; starts the process again where it died."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            return Outcome(**json.loads(line))
        return self.give_up(f"the process ended with {self.process.wait()}")

    def give_up(self, why: str) -> Outcome:
        """Count the case as crashed, with a new process for the next."""
        self.process.kill()
        self.process.communicate()
        self.start()
        return Outcome(self.case, CRASHED, why)


def outcomes(
    todo: Iterable[str], *, fast: bool, jobs: int, seconds: float, script: Path = WORKER
) -> Iterator[Outcome]:
    """Try cases, each at most so many seconds, in processes that run a script."""
    waiting = iter(todo)
    workers = [_Worker(script, fast) for _ in range(jobs)]
    try:
        busy = [worker for worker in workers if _feed(worker, waiting)]
        while busy:
            with selectors.DefaultSelector() as selector:
                for worker in busy:
                    assert worker.process.stdout is not None
                    selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
                ready: list[_Worker] = [key.data for key, _ in selector.select(timeout=1.0)]
            for worker in busy:
                if worker in ready:
                    yield worker.answer()
                elif time.monotonic() - worker.since > seconds:
                    yield worker.give_up(f"it took over {seconds:g} s")
                else:
                    continue
                worker.case = "" if not _feed(worker, waiting) else worker.case
            busy = [worker for worker in busy if worker.case]
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.communicate()


def _feed(worker: _Worker, waiting: Iterator[str]) -> bool:
    case = next(waiting, None)
    if case is not None:
        worker.give(case)
    return case is not None


def kept_in(file: Path | None) -> dict[str, Outcome]:
    """The outcomes that a file keeps, by case; none where there is no file."""
    if file is None or not file.is_file():
        return {}
    lines = file.read_text("utf-8").splitlines()
    return {made.case: made for made in (Outcome(**json.loads(line)) for line in lines)}


def keep(one: Outcome, file: Path | None) -> None:
    """Add an outcome to the file that keeps them, where there is one."""
    if file is not None:
        with file.open("a", encoding="utf-8") as opened:
            opened.write(json.dumps(asdict(one)) + "\n")


def show(found: Iterable[Outcome]) -> dict[str, Any]:
    """Print the counts, with reasons; give them."""
    by = {what: [one for one in found if one.outcome == what] for what in OUTCOMES}
    total = sum(map(len, by.values()))
    print(f"{total} cases: " + ", ".join(f"{len(by[what])} {what}" for what in OUTCOMES))
    counted = [one for each in by.values() for one in each if not one.apart]
    share = 100 * sum(one.outcome == PASSED for one in counted) / max(1, len(counted))
    print(f"apart: {dict(Counter(one.apart for each in by.values() for one in each if one.apart))}")
    said(f"passed of the {len(counted)} that count", share, BAR, "%", least=True)
    reasons = Counter(one.reason for one in by[REFUSED])
    for reason, count in reasons.most_common():
        print(f"  {count:4d} refused: {reason}")
    for what in (WRONG, CRASHED):
        for one in by[what]:
            print(f"  {what}: {one.case} ({one.form}): {one.reason}")
    late = [one.case for one in by[REFUSED] if one.late]
    print(f"{len(late)} refused only when lowered" + (": " + " ".join(late) if late else ""))
    return {
        **{what: len(by[what]) for what in OUTCOMES},
        "counted": len(counted),
        "counted_passed_percent": share,
        "late": late,
        "reasons": dict(reasons),
        "cases": [asdict(one) for each in by.values() for one in each],
    }


def _options() -> argparse.Namespace:
    made = parser(__doc__ or "")
    made.add_argument("--only", metavar="PATTERN", default="", help="cases whose name has it")
    made.add_argument("--fast", action="store_true", help="in one process, nothing linked")
    made.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    made.add_argument("--seconds", type=float, default=120.0, help="time limit of a case")
    made.add_argument("--resume", metavar="FILE", type=Path, help="keep outcomes here")
    return made.parse_args()


def main() -> None:
    options = _options()
    wanted = [name for name in names() if re.search(options.only, name)]
    if options.quick:
        wanted = wanted[::20]
    kept = kept_in(options.resume)
    found = [kept[name] for name in wanted if name in kept]
    todo = [name for name in wanted if name not in kept]
    for one in outcomes(todo, fast=options.fast, jobs=options.jobs, seconds=options.seconds):
        found.append(one)
        keep(one, options.resume)
    finish(show(found), options.json)


if __name__ == "__main__":
    main()
