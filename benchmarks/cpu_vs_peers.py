# SPDX-License-Identifier: Apache-2.0
"""How fast are whole networks that splitc compiles for this machine, against the best of others?

Batch 1, the same threads for all, in turn, each in its own process. splitc and onnxruntime compute
in float32; OpenVINO (`pip install openvino`) is run in float32, and beside it in what it takes by
itself, which is bfloat16 where the processor multiplies that. The ratio is splitc's time over the
quickest in float32, round by round. Bars: a geometric mean of at most 0.75, none above 1.

GFLOP/s count convolutions and matrix products; the machine's sgemm rate is the best that numpy's
BLAS and onnxruntime reach with as many threads. onnxruntime gets the network as it was made or as
splitc simplifies it, whichever it runs faster; OpenVINO as it was made. Quantised networks are run
where they are named; splitc computes them on bytes where the processor has VNNI, OpenVINO those of
them that are QDQ, by itself too, which counts there: a line says how many products it has on bytes.
`--bf16` runs splitc's code with products in bfloat16 too, told under each row; the bar is 0.65 of
splitc's own time in float32, where the processor has no tiles (AMX).
`--profile NETWORK` says instead what each function of splitc's code takes.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from networks import NAMES, QUANTISED
from sides import Network, Worker, WorkerError, difference, in_turn, prepare, sgemm_flops

from common import Others, finish, median, numbers, parser, some_of

MEAN_BAR, WORST_BAR = 0.75, 1.0
QUICK = ["squeezenet", "shufflenet"]


@dataclass(frozen=True)
class Row:
    """A network at a thread count; `failure` says why there is no figure.

    Args:
        ratio: splitc's time over the quickest other's in float32.
        ms: Of each side; "openvino default" is OpenVINO in what it takes by itself.
        ratios: splitc's time over each other's.
        default: What OpenVINO takes by itself.
        openvino_on_bytes: How many of its products are of bytes there, of a quantised network.
        over_bf16: splitc's time in bfloat16 over its own in float32, and over OpenVINO's by itself.
    """

    network: str
    threads: int
    ratio: float = 0.0
    ms: dict[str, float] = field(default_factory=dict[str, float])
    ratios: dict[str, float] = field(default_factory=dict[str, float])
    gflops: float = 0.0
    sgemm_share: float = 0.0
    relative_error: float = 0.0
    onnxruntime_ran: str = ""
    default: str = ""
    openvino_on_bytes: str = ""
    over_bf16: dict[str, float] = field(default_factory=dict[str, float])
    failure: str = ""

    def __str__(self) -> str:
        head = f"{self.network:17} {self.threads:2}"
        if self.failure:
            return f"{head}  failed: {self.failure}"[:80]
        times = " ".join(
            f"{self.ms[side]:7.2f}" if side in self.ms else f"{'-':>7}" for side in SIDES
        )
        quick = ""
        if BFLOAT16 in self.ms:
            beside = [f"{self.over_bf16[side]:.2f} of {side}" for side in self.over_bf16]
            quick = f"\n    in bf16 {self.ms[BFLOAT16]:.2f} ms: {', '.join(beside)}"
        if self.openvino_on_bytes:
            quick += f"\n    OpenVINO's products on bytes: {self.openvino_on_bytes}"
        return (
            f"{head} {self.ratio:5.2f} {times} {self.default:>4} "
            f"{self.sgemm_share:4.0%} {self.relative_error:5.0e}{quick}"
        )


SIDES = ("splitc", "onnxruntime", "openvino", "openvino default")
BFLOAT16 = "splitc bf16"
FLOAT32 = ("onnxruntime", "openvino")
"""Whose time splitc's is held against."""
TITLE = f"{'network':17} th ratio  splitc onnxrt. OpenVINO: f32, itself  sgemm error"


def compile_(
    network: Network, folder: Path, precision: str = "float32"
) -> tuple[Path, list[dict[str, Any]]]:
    """The network's part for this machine, and its kernels."""
    part = folder / f"{network.name}.{precision}.part"
    with Worker("splitc", 2) as worker:
        made = worker.ask(
            "compile", model=str(network.simplified), board="host", part=str(part),
            precision=precision,
        )  # fmt: skip
    return part, made["kernels"]


def compare(
    network: Network, parts: Mapping[str, Path], threads: int, sgemm: float, options: Namespace,
    folder: Path,
) -> Row:  # fmt: skip
    """Run all sides in turn, splitc's by their parts."""
    rounds, batch_s = (3, 0.06) if options.quick else (9, 0.25)
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(Worker(name.split()[0], threads))
            for name in dict.fromkeys((*SIDES, *parts))
            if find_spec("openvino") or not name.startswith("openvino")
        }
        for name, part in parts.items():
            sides[name].ask("load", part=str(part), inputs=str(network.inputs))
        models, inputs = [str(network.original), str(network.simplified)], str(network.inputs)
        taken: int = sides["onnxruntime"].ask("load", models=models, inputs=inputs)
        default, on_bytes = "", ""
        if "openvino" in sides:
            sides["openvino"].ask("load", models=models, inputs=inputs)
            default = sides["openvino default"].ask(
                "load", models=models, inputs=inputs, precision=""
            )
            if network.name in QUANTISED:
                on_bytes = "{} of {}".format(*sides["openvino default"].ask("products_on_bytes"))
        error = difference(sides["splitc"], sides["onnxruntime"], folder)
        took: dict[str, list[float]] = {name: [] for name in sides}
        for batches in in_turn(*sides.values(), rounds=rounds, batch_s=batch_s):
            for name, seconds in zip(sides, batches, strict=True):
                took[name].append(median(seconds))
    over = {name: _ratio(took, (name,)) for name in sides if name not in parts}
    beside = [n for n in ("splitc", "openvino default") if BFLOAT16 in took and n in took]
    rate = network.flops / median(took["splitc"])
    others = FLOAT32 if network.name not in QUANTISED else (*FLOAT32, "openvino default")
    return Row(
        network.name, threads, _ratio(took, [name for name in others if name in sides]),
        {name: median(seconds) * 1e3 for name, seconds in took.items()}, over,
        rate / 1e9, rate / sgemm, error, ("original", "simplified")[taken], default, on_bytes,
        {name: _ratio(took, (name,), BFLOAT16) for name in beside},
    )  # fmt: skip


def _ratio(
    took: Mapping[str, Sequence[float]], others: Sequence[str], ours: str = "splitc"
) -> float:
    """splitc's seconds over those of the other that is quickest as a rule, round by round."""
    best = min(others, key=lambda name: median(list(took[name])))
    return median([mine / other for mine, other in zip(took[ours], took[best], strict=True)])


def rows_of(name: str, sgemm: Mapping[int, float], options: Namespace) -> list[Row]:
    """A network at every thread count; a failure does not stop the others."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        network = prepare(name, folder)
        try:
            parts = {"splitc": compile_(network, folder)[0]}
            if options.bf16:
                parts[BFLOAT16] = compile_(network, folder, "bf16")[0]
        except WorkerError as error:
            return [Row(name, threads, failure=f"compile: {error}") for threads in sgemm]
        rows: list[Row] = []
        for threads, rate in sgemm.items():
            try:
                rows.append(compare(network, parts, threads, rate, options, folder))
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
    found: dict[str, Any] = {
        "geomean": mean, "worst": worst.ratio, "worst_network": worst.network, "bar_met": met
    }  # fmt: skip
    for side in good[0].ratios:
        each = {row.network: row.ratios[side] for row in good}
        most = max(each, key=each.__getitem__)
        over = statistics.geometric_mean(each.values())
        print(f"  over {side}: geometric mean {over:.2f}, worst {each[most]:.2f} ({most})")
        found[f"over {side}"] = {"geomean": over, "worst": each[most], "worst_network": most}
    for side in good[0].over_bf16:
        over = statistics.geometric_mean(row.over_bf16[side] for row in good)
        print(f"  in bf16 over {side}: geometric mean {over:.2f}")
        found[f"bf16 over {side}"] = {"geomean": over}
    return found


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
    made.add_argument("--bf16", action="store_true", help="splitc in bfloat16 too")
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
