# SPDX-License-Identifier: Apache-2.0
"""Which networks that people have are loaded, cut, compiled and verified, and how quick are they?

Networks of the transformers library (`pip install transformers`; their configurations, with
seeded weights: nothing is downloaded) and others of their families, as ONNX. Each is cut at its
best cut and at two drawn ones, compiled with its head for rpi4 and its tail for this machine, and
verified, the head emulated. Then the whole network, compiled for this machine, takes turns with
onnxruntime and OpenVINO in float32 (`pip install openvino`), with the same threads, each in its
own process; its results are held against onnxruntime's. Bars: every network passes, none takes
over 1.3 times what the better of the others does, and the geometric mean is at most 0.9.

Every network is tried in a process of its own. `--only cuts` and `--only times` do one half.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from onnx import ModelProto
from sides import Worker, WorkerError, difference, medians, write_arrays

import splitc
from common import ROOT, Others, checkout_env, finish, numbers, parser, said, some_of
from splitc.bundle.golden import seeded_inputs, tolerance_of
from splitc.errors import SplitcError
from splitc.frontend.onnx.bounded import bounded
from splitc.frontend.onnx.model import OnnxModel

WORST, MEAN = 1.3, 0.9
DRAWN = 2
"""Cuts of a network that are drawn."""
DEVICE, SERVER = "rpi4", "host"
BATCH_S = 0.2
"""Seconds of runs of a side in a round."""
LONGEST_S = 1800
"""After which a network hangs."""
HALVES = ("cuts", "times")
Figures = dict[str, Any]


def makers() -> dict[str, Callable[[], ModelProto]]:
    """What makes each network, by its name, where torch and transformers are there."""
    made: dict[str, Callable[[], ModelProto]] = {}
    if find_spec("transformers"):
        from wide_others import OTHERS
        from wide_transformers import TRANSFORMERS

        made.update(TRANSFORMERS)
        made.update(OTHERS)
    return made


def cuts_of(path: Path) -> list[tuple[str, str]]:
    """The best cut of a network and drawn ones: what each is, and the layers it comes after."""
    table = splitc.find_cuts(splitc.load(path), head=DEVICE, tail=SERVER)
    best = table.auto
    others = [row for row in table.usable if row is not best]
    drawn = random.Random(path.stem).sample(others, min(DRAWN, len(others)))
    return [("best", best.cut.name), *((f"drawn {k}", row.cut.name) for k, row in enumerate(drawn))]


def compiled(path: Path, cut: str, folder: Path) -> str:
    """Compile a network at a cut and verify it; what is wrong, or nothing."""
    made = splitc.compile(path, cut=cut, head=DEVICE, tail=SERVER, output=folder)
    found = made.verify(emulate=True)
    return "" if found.passed else f"{found.worst.relative:.1e} off in '{found.worst.name}'"


def tried(work: Callable[[], Any]) -> tuple[Any, str]:
    """What some work gave, and why it gave nothing."""
    try:
        return work(), ""
    except (SplitcError, WorkerError) as error:
        return None, " ".join(str(error).split())


def cut_and_verified(path: Path, folder: Path) -> Figures:
    """How each cut went: what is wrong of it, and the seconds it took."""
    cuts, why = tried(lambda: cuts_of(path))
    figures: Figures = {} if cuts else {"cut": {"wrong": why}}
    for what, cut in cuts or ():
        start = time.perf_counter()
        wrong, why = tried(partial(compiled, path, cut, folder / "cut.splitc"))
        shutil.rmtree(folder / "cut.splitc", ignore_errors=True)
        took = time.perf_counter() - start
        figures[what] = {"cut": cut, "wrong": wrong or why, "seconds": took}
    return figures


@dataclass(frozen=True)
class Ready:
    """A network to be timed, on disk.

    Args:
        original: As it was made.
        part: Compiled whole for this machine.
        inputs: Of a call.
        tolerance: What its results may be off.
    """

    original: Path
    part: Path
    inputs: Path
    tolerance: float


def ready(path: Path, folder: Path) -> Ready:
    """Compile a network whole for this machine, and draw its inputs.

    Raises:
        SplitcError: splitc does not load it.
        WorkerError: splitc does not compile it.
    """
    fixed = bounded(splitc.load(path))
    assert isinstance(fixed, OnnxModel)
    simplified = folder / "simplified.onnx"
    made = Ready(path, folder / "part", folder / "inputs.npz", tolerance_of(fixed.graph))
    fixed.save(simplified)
    drawn = seeded_inputs(fixed.graph.inputs, 0, fixed.index_extents, fixed.settled)
    write_arrays(made.inputs, *drawn.values())
    with Worker("splitc", 1) as side:
        side.ask("compile", model=str(simplified), board="host", part=str(made.part))
    return made


def timed(network: Ready, threads: int, rounds: int, folder: Path) -> Figures:
    """Median milliseconds of each side that takes the network, and how far splitc's results are.

    Raises:
        WorkerError: onnxruntime does not take it.
    """
    said_no = ""
    inputs, original = str(network.inputs), [str(network.original)]
    with ExitStack() as stack:
        names = ("splitc", "onnxruntime", *(["openvino"] if find_spec("openvino") else []))
        sides = {name: stack.enter_context(Worker(name, threads)) for name in names}
        sides["splitc"].ask("load", part=str(network.part), inputs=inputs)
        sides["onnxruntime"].ask("load", models=original, inputs=inputs)
        if "openvino" in sides:
            peer = sides["openvino"]
            _, said_no = tried(lambda: peer.ask("load", models=original, inputs=inputs))
        if said_no:
            del sides["openvino"]
        off = difference(sides["splitc"], sides["onnxruntime"], folder)
        wrong = "" if off <= network.tolerance else f"{off:.1e} from onnxruntime's"
        times = medians(sides, rounds, BATCH_S)
    better = min(took for name, took in times.items() if name != "splitc")
    return {"wrong": wrong, "off": off, "ratio": times["splitc"] / better, "ms": times,
            "openvino": said_no}  # fmt: skip


def whole(path: Path, threads: list[int], rounds: int, folder: Path) -> Figures:
    """How long a whole network takes, with each number of threads."""
    made, why = tried(lambda: ready(path, folder))
    if made is None:
        return {"whole": {"wrong": why}}
    figures: Figures = {}
    for count in threads:
        found, why = tried(partial(timed, made, count, rounds, folder))
        figures[f"times, {count}"] = found or {"wrong": why}
    return figures


def one(name: str, halves: list[str], threads: list[int], rounds: int) -> Figures:
    """All figures of a network."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        path = folder / f"{name}.onnx"
        path.write_bytes(makers()[name]().SerializeToString())
        if "cuts" in halves:
            figures["cuts"] = cut_and_verified(path, folder)
        if "times" in halves:
            figures |= whole(path, threads, rounds, folder)
    return figures


def alone(name: str, arguments: list[str]) -> Figures:
    """All figures of a network, from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "figures.json"
        command = [sys.executable, __file__, "--one", name, "--json", str(written), *arguments]
        try:
            ran = subprocess.run(
                command, capture_output=True, text=True, timeout=LONGEST_S, check=False,
                env=checkout_env(ROOT),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"process": {"wrong": f"no end after {LONGEST_S} s"}}
        if written.is_file():
            return json.loads(written.read_text("utf-8"))
        last = [line for line in ran.stderr.splitlines() if line.strip()]
        return {"process": {"wrong": last[-1] if last else f"exit status {ran.returncode}"}}


def shown(name: str, figures: Figures) -> list[str]:
    """A network's lines of the table; gives what is wrong of it."""
    found = {**figures.get("cuts", {}), **{k: v for k, v in figures.items() if k != "cuts"}}
    wrong = [f"{what}: {each['wrong']}" for what, each in found.items() if each["wrong"]]
    print(f"{name:16} {'fails' if wrong else 'passes'}")
    for line in wrong:
        print(f"    {line}")
    for what, each in found.items():
        if "ratio" in each:
            times = "  ".join(f"{side} {took:.2f} ms" for side, took in each["ms"].items())
            print(f"    {what}: {each['ratio']:.2f} of the better  ({times})")
    return wrong


def main() -> None:
    """Try each network."""
    made = parser(__doc__ or "")
    made.add_argument("--networks", type=some_of(makers()), default=[*makers()], metavar="A,B")
    made.add_argument("--threads", type=numbers, default=[1, 2], help="such as 1,2")
    made.add_argument("--only", choices=HALVES, help="do this half")
    made.add_argument("--one", metavar="NETWORK", help="try it here")
    options = made.parse_args()
    if options.one:
        halves = [options.only] if options.only else [*HALVES]
        figures = one(options.one, halves, options.threads, 5 if options.quick else 15)
        options.json.write_text(json.dumps(figures), "utf-8")
        return
    arguments = ["--threads", ",".join(map(str, options.threads))]
    arguments += ["--quick"] if options.quick else []
    arguments += ["--only", options.only] if options.only else []
    around, everything = Others(), dict[str, Figures]()
    failed: list[str] = []
    for name in options.networks:
        everything[name] = alone(name, arguments)
        failed += [name] if shown(name, everything[name]) else []
    passed = f"{len(everything) - len(failed)} of {len(everything)} pass"
    print(f"{passed}, not {', '.join(failed)}" if failed else passed)
    for count in options.threads:
        times = [found.get(f"times, {count}", {}) for found in everything.values()]
        ratios = [each["ratio"] for each in times if "ratio" in each]
        if ratios:
            said(f"{count} threads, of the better, the most", max(ratios), WORST)
            said(f"{count} threads, of the better, geometric mean", geometric_mean(ratios), MEAN)
    print(f"others took {around.share():.0%} of the processors meanwhile")
    finish(everything, options.json)


if __name__ == "__main__":
    main()
