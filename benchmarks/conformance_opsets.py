# SPDX-License-Identifier: Apache-2.0
"""What becomes of each ONNX operator, opset by opset?

onnx's own cases of one operator are written in the words of every opset in which ONNX changed the
operator, or from which on models are read another way (conformance_older.py), three at most each,
and go the way that conformance.py's go: `--fast`, in one process, nothing linked. Right is what
onnxruntime gives at that opset, else onnx's reference.

    python benchmarks/conformance_opsets.py --jobs 1 --resume /tmp/opsets.jsonl --json FILE
    python benchmarks/operators.py --opsets FILE    # docs/conformance.json, docs/operators.md

`--resume FILE` keeps each outcome and leaves out those it has already. `--only REGEX` tries
operators whose name it fits, and is for looking alone: what it writes has only those.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
from conformance import keep, kept_in, outcomes
from conformance_older import Rung, case_at, cases_at, rungs
from conformance_run import CRASHED, PASSED, REFUSED, WRONG, Outcome, answer

from common import finish, parser

MOST = 3
"""Cases of an operator at an opset."""


def operators() -> list[str]:
    """The operators of ONNX's own domain."""
    found = onnx.defs.get_all_schemas_with_history()
    return sorted({each.name for each in found if not each.domain})


def show(found: Iterable[Outcome], untried: Mapping[Rung, str]) -> dict[str, Any]:
    """Print the counts and what came out badly; give all of it."""
    some = list(found)
    counts = Counter(one.outcome for one in some)
    print(f"{len(some)} cases: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    for reason, count in Counter(o.reason for o in some if o.outcome == REFUSED).most_common():
        print(f"  {count:4d} refused: {reason}")
    for one in some:
        if one.outcome in (WRONG, CRASHED) or one.late:
            print(f"  {one.outcome}: {one.case} ({one.form}): {one.reason}")
    for why, count in Counter(untried.values()).most_common():
        print(f"  {count:4d} opsets of operators not tried: {why}")
    return {
        **{what: counts[what] for what in (PASSED, REFUSED, WRONG, CRASHED)},
        "cases": [asdict(one) for one in some],
        "untried": [{**asdict(rung), "why": why} for rung, why in untried.items()],
    }


def _options() -> argparse.Namespace:
    made = parser(__doc__ or "")
    made.add_argument("--only", metavar="REGEX", default="", help="operators whose name it fits")
    made.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    made.add_argument("--seconds", type=float, default=300.0, help="time limit of a case")
    made.add_argument("--resume", metavar="FILE", type=Path, help="keep outcomes here")
    return made.parse_args()


def main() -> None:
    """Try what is not known yet, and print what became of all."""
    options = _options()
    wanted = [name for name in operators() if re.fullmatch(options.only or ".*", name)]
    names, untried = list[str](), dict[Rung, str]()
    for operator in wanted[:: 10 if options.quick else 1]:
        for rung in rungs(operator):
            some, why = cases_at(rung, MOST)
            names += some
            if why:
                untried[rung] = why
    kept = kept_in(options.resume)
    found = [kept[name] for name in names if name in kept]
    todo = [name for name in names if name not in kept]
    print(f"{len(names)} cases, {len(todo)} to try", flush=True)
    script = Path(__file__)
    for one in outcomes(todo, fast=True, jobs=options.jobs, seconds=options.seconds, script=script):
        found.append(one)
        keep(one, options.resume)
    figures = show(found, untried)
    finish(figures, options.json)
    raise SystemExit(1 if figures[WRONG] or figures[CRASHED] else 0)


if __name__ == "__main__":
    if sys.argv[1:] == ["--fast"]:  # A process that conformance.py's `outcomes` started.
        answer(case_at, fast=True)
    else:
        main()
