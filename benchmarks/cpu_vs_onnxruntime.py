# SPDX-License-Identifier: Apache-2.0
"""How fast are whole networks that splitc compiles for this machine, against onnxruntime?

Batch 1, fp32, the same threads for both, in turn. Bar: a geometric mean of the
ratios of at most 1.3 and none above 2. GFLOP/s count convolutions and matrix
products; the machine's sgemm rate is the best that numpy's BLAS and onnxruntime
reach with as many threads. onnxruntime gets the network as it was made or as
splitc simplifies it, whichever it runs faster. Quantised networks are run where they are
named; splitc computes them on bytes as onnxruntime does where the processor has VNNI.
`--profile NETWORK` says instead what each function of splitc's code takes.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from networks import NAMES, QUANTISED
from sides import Network, Worker, WorkerError, difference, in_turn, prepare, sgemm_flops

from common import Others, finish, median, numbers, parser, some_of

MEAN_BAR, WORST_BAR = 1.3, 2.0
QUICK = ["squeezenet", "shufflenet"]


@dataclass(frozen=True)
class Row:
    """A network at a thread count; `failure` says why there is no figure."""

    network: str
    threads: int
    ratio: float = 0.0
    splitc_ms: float = 0.0
    onnxruntime_ms: float = 0.0
    gflops: float = 0.0
    sgemm_share: float = 0.0
    relative_error: float = 0.0
    onnxruntime_ran: str = ""
    failure: str = ""

    def __str__(self) -> str:
        head = f"{self.network:15} {self.threads:4}"
        if self.failure:
            return f"{head}  failed: {self.failure}"[:80]
        return (
            f"{head} {self.ratio:7.2f} {self.splitc_ms:10.2f} {self.onnxruntime_ms:8.2f} "
            f"{self.gflops:8.1f} {self.sgemm_share:8.0%} {self.relative_error:12.1e}"
        )


TITLE = "network          thr   ratio  splitc ms   ort ms  GFLOP/s of sgemm   rel. error"


def compile_(network: Network, folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    """The network's part for this machine, and its kernels."""
    part = folder / f"{network.name}.part"
    with Worker("splitc", 2) as worker:
        made = worker.ask("compile", model=str(network.simplified), board="host", part=str(part))
    return part, made["kernels"]


def compare(
    network: Network, part: Path, threads: int, sgemm: float, options: Namespace, folder: Path
) -> Row:
    """Run both sides in turn."""
    rounds, batch_s = (3, 0.06) if options.quick else (9, 0.25)
    with Worker("splitc", threads) as ours, Worker("onnxruntime", threads) as theirs:
        ours.ask("load", part=str(part), inputs=str(network.inputs))
        models = (network.original, network.simplified)
        taken: int = theirs.ask("load", models=[str(m) for m in models], inputs=str(network.inputs))
        error = difference(ours, theirs, folder)
        pairs = [
            (median(mine), median(other))
            for mine, other in in_turn(ours, theirs, rounds=rounds, batch_s=batch_s)
        ]
    splitc_s, ort_s = (median([pair[k] for pair in pairs]) for k in range(2))
    rate = network.flops / splitc_s
    return Row(
        network.name, threads, median([mine / other for mine, other in pairs]),
        splitc_s * 1e3, ort_s * 1e3, rate / 1e9, rate / sgemm, error,
        ("original", "simplified")[taken],
    )  # fmt: skip


def rows_of(name: str, sgemm: Mapping[int, float], options: Namespace) -> list[Row]:
    """A network at every thread count; a failure does not stop the others."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        network = prepare(name, folder)
        try:
            part, _ = compile_(network, folder)
        except WorkerError as error:
            return [Row(name, threads, failure=f"compile: {error}") for threads in sgemm]
        rows: list[Row] = []
        for threads, rate in sgemm.items():
            try:
                rows.append(compare(network, part, threads, rate, options, folder))
            except WorkerError as error:
                rows.append(Row(name, threads, failure=f"run: {error}"))
        return rows


def summary(rows: Sequence[Row], threads: int) -> dict[str, Any]:
    """Geometric mean and worst ratio at a thread count, held against the bar, and printed."""
    mine = [row for row in rows if row.threads == threads]
    good = [row for row in mine if not row.failure]
    failed = len(mine) - len(good)
    if not good:
        print(f"threads {threads}: every network failed; missed")
        return {"bar_met": False}
    mean = statistics.geometric_mean(row.ratio for row in good)
    worst = max(good, key=lambda row: row.ratio)
    met = mean <= MEAN_BAR and worst.ratio <= WORST_BAR and not failed
    print(
        f"threads {threads}: {len(good)} networks, geometric mean {mean:.2f}, "
        f"worst {worst.ratio:.2f} ({worst.network}), {failed} failed\n"
        f"  bar: mean <= {MEAN_BAR}, none > {WORST_BAR}: {'met' if met else 'missed'}"
    )
    return {"geomean": mean, "worst": worst.ratio, "worst_network": worst.network, "bar_met": met}


def profile(name: str, threads: int, options: Namespace) -> dict[str, Any]:
    """What each function of a network's code takes, slowest first, printed."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        network = prepare(name, folder)
        part, kernels = compile_(network, folder)
        with Worker("splitc", threads) as worker:
            worker.ask("load", part=str(part), inputs=str(network.inputs))
            whole_s = median(worker.run(3))
            count = max(2, min(10 if options.quick else 50, int(5 / whole_s)))
            runs: list[dict[str, list[float]]] = worker.ask("functions", count=count)
            whole_s = median(worker.run(count))
    known = {kernel["name"]: kernel for kernel in kernels}
    functions = _functions(runs, known)
    total = sum(one["ms"] for one in functions)
    print(f"{name}, {threads} thread(s): {whole_s * 1e3:.2f} ms a run, "
          f"{network.flops / whole_s / 1e9:.1f} GFLOP/s; functions:")  # fmt: skip
    print("      ms  share  calls  GFLOP/s  function")
    for one in functions:
        rate = f"{one['gflops']:7.1f}" if one["gflops"] else "      -"
        print(f"{one['ms']:8.3f} {one['ms'] / total:6.1%} {one['calls']:6}  {rate}  {one['name']}")
        if one["name"] in known:
            print("        {rule}: {op}  {shapes}".format(**known[one["name"]]))
    print(f"{total:8.3f} together, {sum(one['calls'] for one in functions)} calls")
    return {"network": name, "threads": threads, "ms": whole_s * 1e3, "functions": functions}


def _functions(
    runs: Sequence[Mapping[str, list[float]]], known: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name in runs[0]:
        calls = len(runs[0][name])
        seconds = median([sum(run[name]) for run in runs])
        flops = known[name]["flops"] * calls if name in known else 0
        rows.append(
            {"name": name, "ms": seconds * 1e3, "calls": calls, "gflops": flops / seconds / 1e9}
        )
    return sorted(rows, key=lambda row: -row["ms"])


def arguments() -> Namespace:
    """The options."""
    made = parser(__doc__ or "")
    known = [*NAMES, *QUANTISED]
    made.add_argument("--networks", type=some_of(known), metavar="A,B", help=", ".join(known))
    made.add_argument("--threads", type=numbers, default=[1, 2], metavar="1,2", help="default 1,2")
    made.add_argument("--profile", choices=known, metavar="NETWORK", help="times by function")
    options = made.parse_args()
    options.networks = options.networks or (QUICK if options.quick else list(NAMES))
    return options


def main() -> None:
    """Compare, or profile."""
    options = arguments()
    if options.profile:
        found = [profile(options.profile, threads, options) for threads in options.threads]
        finish({"profiles": found}, options.json)
        return
    others = Others()
    with tempfile.TemporaryDirectory() as folder:
        sgemm = {n: sgemm_flops(n, Path(folder), quick=options.quick) for n in options.threads}
    for threads, rate in sgemm.items():
        print(f"sgemm with {threads} thread(s): {rate / 1e9:.1f} GFLOP/s")
    print(TITLE)
    rows: list[Row] = []
    for name in options.networks:
        for row in rows_of(name, sgemm, options):
            print(row)
            sys.stdout.flush()
            rows.append(row)
    summaries = {str(threads): summary(rows, threads) for threads in sgemm}
    print(f"others took {others.share():.0%} of the processors meanwhile")
    finish(
        {
            "others_share": others.share(),
            "sgemm_gflops": {str(n): rate / 1e9 for n, rate in sgemm.items()},
            "rows": [asdict(row) for row in rows],
            "summary": summaries,
        },
        options.json,
    )


if __name__ == "__main__":
    main()
