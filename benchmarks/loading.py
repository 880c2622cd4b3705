# SPDX-License-Identifier: Apache-2.0
"""How long does a compiled part take to load, how much memory, and what does a call cost?

ResNet50, all of it but the softmax in the head, compiled for this machine. Bars: `splitc-run`
loads it in 120 ms and takes at most 0.60 of the memory that onnxruntime's Python process does;
`load_part` takes half of the time that onnxruntime's session does; a call of a loaded part costs
30 us beside the compiled function. Every process runs in turn with the others, round by round;
the page cache is warm. `--against CHECKOUT` adds another version of splitc, by its folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from loading_side import RUNS, Figures
from onnx import TensorProto, helper

from common import ROOT, Others, checkout_env, finish, median, parser, said
from splitc import zoo

MAIN = "from splitc.cli import main; main()"
SIDE = Path(__file__).with_name("loading_side.py")


def compiled(model: Path, checkout: Path, bundle: Path, cut: str = "auto") -> Path:
    """A bundle of the model for this machine, by the splitc in a checkout."""
    command = ("compile", str(model), "--cut", cut, "--target", "host", "-o", str(bundle))
    subprocess.run(
        [sys.executable, "-c", MAIN, *command], check=True, cwd=bundle.parent,
        env=checkout_env(checkout),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return bundle


def measured(command: Sequence[str], checkout: Path = ROOT) -> Figures:
    """What a process prints as JSON, and its resident peak in MB.

    The peak is looked at while it runs: what the system says of it afterwards counts the
    process it was forked from too.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=checkout_env(checkout)
    )
    peak_mb = 0.0
    while process.poll() is None:
        peak_mb = max(peak_mb, _peak_mb(process.pid))
        time.sleep(0.002)
    assert process.stdout is not None
    printed = process.stdout.read()
    if process.returncode != 0:
        raise SystemExit(f"{command[0]} failed")
    return {**json.loads(printed), "peak_mb": peak_mb}


def _peak_mb(pid: int) -> float:
    """Largest resident set of a process so far; 0 where it runs no program of its own yet."""
    try:
        if Path(f"/proc/{pid}/exe").resolve() == Path("/proc/self/exe").resolve() and (
            Path(f"/proc/{pid}/cmdline").read_bytes() == Path("/proc/self/cmdline").read_bytes()
        ):
            return 0.0
        status = Path(f"/proc/{pid}/status").read_text("ascii")
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def by_runner(part: Path, x: Path) -> Figures:
    """One start of a part's own runner."""
    return measured([str(part / "splitc-run"), "--repeat", str(RUNS), str(x)])


def in_python(side: str, what: Path, x: Path, checkout: Path = ROOT) -> Figures:
    """One start of Python with one side in it: see loading_side.py."""
    return measured([sys.executable, str(SIDE), side, str(what), str(x)], checkout)


def small_model(path: Path) -> Path:
    """A network of two layers and sixteen numbers."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "a"), helper.make_node("Abs", ["a"], ["y"], "y")
    ]  # fmt: skip
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 16]) for n in "xy"]
    graph = helper.make_graph(nodes, "small", values[:1], values[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(made.SerializeToString())
    return path


def in_turn(rounds: int, sides: dict[str, Callable[[], Figures]]) -> dict[str, Figures]:
    """Medians of each side's figures, one run of each after the other."""
    runs: dict[str, list[Figures]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            runs[name].append(side())
    return {
        name: {key: median([one[key] for one in found]) for key in
               ("load_ms", "peak_mb", "median_ms", "once_ms", "open_ms", "call_us", "bare_us")
               if key in found[0]}
        for name, found in runs.items()
    }  # fmt: skip


def loads(network: str, folder: Path, against: Path | None, rounds: int) -> dict[str, Figures]:
    """Loading one network, and all that runs it."""
    model = folder / f"{network}.onnx"
    model.write_bytes(zoo.build(network).SerializeToString())
    bundle = compiled(model, ROOT, folder / "ours.splitc")
    spec = json.loads((bundle / "manifest.json").read_text("utf-8"))["source"]["inputs"][0]
    x = folder / "x.npy"
    shape = tuple(int(extent) for extent in spec["shape"])
    np.save(x, np.random.default_rng(0).random(shape, np.float32))
    head = bundle / "head"
    sides: dict[str, Callable[[], Figures]] = {
        "splitc-run": lambda: by_runner(head, x),
        "load_part": lambda: in_python("part", head, x),
        "onnxruntime": lambda: in_python("onnxruntime", model, x),
        "Bundle": lambda: in_python("bundle", bundle, x),
    }
    if find_spec("openvino") is not None:
        sides["OpenVINO"] = lambda: in_python("openvino", model, x)
    if against is not None:
        old = compiled(model, against, folder / "old.splitc")
        sides["splitc-run, other"] = lambda: by_runner(old / "head", x)
        sides["Bundle, other"] = lambda: in_python("old bundle", old, x, against)
    found = in_turn(rounds, sides)
    print(f"{network}, head/ {sum(p.stat().st_size for p in head.iterdir()) / 1e6:.1f} MB, "
          f"{rounds} round(s), medians:")  # fmt: skip
    for name, figures in found.items():
        line = "  ".join(f"{key} {value:.2f}" for key, value in figures.items())
        print(f"  {name:20} {line}")
    own, ort = found["splitc-run"], found["onnxruntime"]
    said("load_ms of splitc-run", own["load_ms"], 120, "ms")
    said("its resident peak / onnxruntime's", own["peak_mb"] / ort["peak_mb"], 0.6)
    said("load_part / session", found["load_part"]["load_ms"] / ort["load_ms"], 0.5)
    network_ms = own["median_ms"]
    print(f"  Bundle.run / the network's own time: {found['Bundle']['once_ms'] / network_ms:.2f}, "
          f"kept open: {found['Bundle']['open_ms'] / network_ms:.2f}")  # fmt: skip
    if "Bundle, other" in found:
        other = found["Bundle, other"]["once_ms"]
        print(f"  Bundle.run / the other's: {found['Bundle']['once_ms'] / other:.3f}, "
              f"load_ms / the other's: "
              f"{own['load_ms'] / found['splitc-run, other']['load_ms']:.3f}")  # fmt: skip
    return found


def call_overhead(folder: Path, rounds: int) -> Figures:
    """What a call costs beside the compiled function."""
    bundle = compiled(small_model(folder / "small.onnx"), ROOT, folder / "small.splitc", "a")
    x = folder / "small.npy"
    np.save(x, np.ones((1, 16), np.float32))
    found = in_turn(rounds, {"call": lambda: in_python("call", bundle / "head", x)})["call"]
    print(f"a call: {found['call_us']:.1f} us, the function alone {found['bare_us']:.1f} us")
    said("overhead of a call", found["call_us"] - found["bare_us"], 30, "us")
    return found


def main() -> None:
    """Load and run, in turn."""
    made = parser(__doc__ or "")
    made.add_argument("--against", type=Path, metavar="CHECKOUT", help="another version's folder")
    options = made.parse_args()
    others = Others()
    rounds = 2 if options.quick else 7
    networks = ("squeezenet",) if options.quick else ("resnet50", "squeezenet")
    figures: dict[str, Any] = {}
    for network in networks:
        with tempfile.TemporaryDirectory() as folder:
            figures[network] = loads(network, Path(folder), options.against, rounds)
    with tempfile.TemporaryDirectory() as folder:
        figures["call"] = call_overhead(Path(folder), rounds)
    print(f"others took {others.share():.0%} of the processors")
    finish(figures, options.json)


if __name__ == "__main__":
    main()
