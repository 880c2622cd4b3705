# SPDX-License-Identifier: Apache-2.0
"""Is splitc's code for a Raspberry Pi 4 quicker than ncnn's and XNNPACK's, by one method?

Each runtime's AArch64 code computes a network in float32 on one thread under qemu, which counts
how often each basic block runs, and what goes between the core's caches and memory; llvm-mca's
model of the core tells the cycles of the blocks, `arm_times` what memory adds to them. splitc's
code is counted the same way, not from its assembly: what one more inference of a part's runner
executes, compiled for one core. Outputs are held against splitc's. Bars: time over the best of
the others, at most 0.9 each.

`--fit` holds what is predicted for ncnn against the times that it publishes for one thread on
that board, by the networks that it publishes them for (`ncnn_nets`), with what memory adds and
without; fits `exposed`, the one constant; and says how far off networks are that are left out of
the fit. Wanted beside splitc's needs, on Debian: `apt install qemu-user llvm`, `pip install
pnnx`. For XNNPACK `--tflite FOLDER` has NETWORK_float32.tflite, as `onnx2tf -i NETWORK.onnx -b 1
-n` writes it of what `--models FOLDER` leaves there.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from arm_caches import caches_of
from arm_counts import Ran, build_plugin, count, find_qemu, instructions, priced
from arm_root import make_root, python
from arm_times import Time, exposed, fit
from ncnn_nets import NCNN_NETS
from published_times import four_threads_ms, one_thread_ms
from sides import Network, Worker, prepare, read_arrays

from common import finish, parser, said, some_of
from splitc.arrays import Array
from splitc.cost.board import Board, load_board
from splitc.errors import ToolchainError
from splitc.scratch import scratch
from splitc_targets.emitted.core_model import CoreModel
from splitc_targets.link.toolchain import RUNNER

BOARD = "rpi4"
NETWORKS = ("resnet50", "mobilenet_v2", "efficientnet_b0", "resnet18")
QUICK = ["mobilenet_v2"]
BAR, GOAL = 0.9, 0.75
AGREE = 1e-3
"""Largest difference of outputs, relative to the largest value."""
_GUEST = Path(__file__).with_name("arm_guest.py")


@dataclass(frozen=True)
class Side:
    """What one inference of a runtime executes.

    Args:
        fmas: Vector multiply-adds.
        cycles: Predicted, no load missing L1.
        memory_bytes: That go between the last cache and memory, both ways.
        ms: Predicted, what waits for caches and memory with it.
        difference: Of its output to splitc's, relative to the largest value.
    """

    runtime: str
    instructions: int
    fmas: int
    cycles: float
    memory_bytes: int
    ms: float
    difference: float = 0.0

    @staticmethod
    def of(runtime: str, ran: Ran, bench: Bench, difference: float = 0.0) -> Side:
        """From what it ran."""
        blocks = priced(ran.blocks, bench.core)
        cycles = sum(block.cycles * block.count for block in blocks)
        time = Time.of(cycles, ran.traffic, bench.board)
        return Side(
            runtime, instructions(ran.blocks), sum(block.fmas * block.count for block in blocks),
            cycles, time.memory_bytes, time.ms(exposed(bench.board)), difference,
        )  # fmt: skip


class Bench:
    """Runs programs for the board under qemu and counts their blocks.

    Args:
        board: An AArch64 one.
        root: What `make_root` made.
        folder: For the plug-in and what is compiled.
    """

    def __init__(self, board: Board, root: Path, folder: Path) -> None:
        self.board, self.root, self.folder = board, root, folder
        self.core = CoreModel.of(board.processor)
        self._plugin, self._caches = build_plugin(folder), caches_of(board)

    def count(self, *command: str) -> Ran:
        """What a program runs."""
        env = {"PYTHONPATH": str(self.root / "site")}
        cpu = self.board.processor.cpu
        return count(command, self._plugin, self.root, cpu, env, self._caches)

    def splitc(self, network: Network, given: Path) -> tuple[Ran, Array]:
        """What a second inference of splitc's code adds, and its output."""
        part, out = self.folder / f"{network.name}.part", self.folder / "out"
        one_core = self.folder / "one-core.toml"
        one_core.write_text(f'name = "one-core"\nbase = "{self.board.name}"\ncores = 1\n', "utf-8")
        out.mkdir(exist_ok=True)
        with Worker("splitc", 2) as worker:
            model = str(network.simplified)
            worker.ask("compile", model=model, board=str(one_core), part=str(part))
        once, twice = (
            self.count(str(part / RUNNER), "--part", str(part), "--out", str(out),
                       "--threads", "1", "--repeat", repeat, str(given))
            for repeat in ("1", "2")
        )  # fmt: skip
        return twice.beyond(once), np.load(out / "0.npy")

    def other(self, runtime: str, model: Path, given: Path) -> tuple[Ran, Array]:
        """What an inference of another runtime executes, and its output."""
        written = self.folder / f"{runtime}.npy"
        ran = self.count(
            python(self.root), str(_GUEST), runtime, str(model), str(given), str(written)
        )
        return ran, np.load(written)


def ncnn_model(network: Network, folder: Path) -> Path:
    """The network as pnnx writes it for ncnn, weights in float32.

    Raises:
        ToolchainError: pnnx is missing or fails.
    """
    program = shutil.which("pnnx") or str(Path(sys.executable).with_name("pnnx"))
    copy = folder / f"{network.name}.onnx"  # pnnx writes beside what it reads
    if copy != network.original:
        shutil.copyfile(network.original, copy)
    shape = ",".join(str(side) for side in read_arrays(network.inputs)[0].shape)
    try:
        subprocess.run(
            [program, copy.name, f"inputshape=[{shape}]", "fp16=0"],
            cwd=folder, capture_output=True, check=False,
        )  # fmt: skip
    except OSError as error:
        raise ToolchainError("pnnx is not installed", hint="pip install pnnx") from error
    made = copy.with_suffix(".ncnn.param")
    if not made.is_file():
        raise ToolchainError("pnnx wrote no model for ncnn", at=network.name)
    return made


def measure(name: str, bench: Bench, models: Path, tflite: Path | None) -> list[Side]:
    """A network's sides, splitc's first."""
    network = prepare(name, models)
    given = _given(network, bench)
    ran, ours = bench.splitc(network, given)
    sides = [Side.of("splitc", ran, bench)]
    others = {"ncnn": ncnn_model(network, models)}
    written = tflite / f"{name}_float32.tflite" if tflite else None
    if written and written.is_file():
        others["litert"] = written
    for runtime, model in others.items():
        ran, theirs = bench.other(runtime, model, given)
        off = float(np.abs(ours.ravel() - theirs.ravel()).max() / np.abs(ours).max())
        if off > AGREE:
            raise ToolchainError(f"{runtime} computes something else", at=f"{name}: {off:.2g}")
        sides.append(Side.of(runtime, ran, bench, off))
    return sides


def _given(network: Network, bench: Bench) -> Path:
    """A network's input, in a file."""
    (image,) = read_arrays(network.inputs)
    written = bench.folder / "in.npy"
    np.save(written, image)
    return written


def measure_ncnn(name: str, bench: Bench, models: Path) -> Time:
    """What ncnn's time of a network is made of, as its benchmark runs that."""
    network = prepare(name, models, NCNN_NETS[name](0))
    model = ncnn_model(network, models)
    ran, _ = bench.other("ncnn-benchmark", model, _given(network, bench))
    blocks = priced(ran.blocks, bench.core)
    cycles = sum(block.cycles * block.count for block in blocks)
    return Time.of(cycles, ran.traffic, bench.board)


def print_network(name: str, sides: list[Side]) -> dict[str, float]:
    """The table of a network; splitc's figures over the best of the others'."""
    ours, theirs = sides[0], sides[1:]
    print(f"{name}: runtime, Minstr, Mfma, Mcycles, MB of memory, ms (ours/theirs), difference")
    for side in sides:
        print(
            f"  {side.runtime:8} {side.instructions / 1e6:8.1f}"
            f" ({ours.instructions / side.instructions:.2f}) {side.fmas / 1e6:7.1f}"
            f" {side.cycles / 1e6:8.1f} ({ours.cycles / side.cycles:.2f})"
            f" {side.memory_bytes / 1e6:7.1f}"
            f" {side.ms:7.1f} ({ours.ms / side.ms:.2f})  {side.difference:.1e}"
        )
    ratios = {
        "cycles": ours.cycles / min(side.cycles for side in theirs),
        "time": ours.ms / min(side.ms for side in theirs),
    }
    print(f"  cycles alone over the best of the others: {ratios['cycles']:.2f}")
    said(f"{name}: time over the best of the others", ratios["time"], BAR)
    said(f"{name}: the same, goal", ratios["time"], GOAL)
    return ratios


def print_fit(times: Mapping[str, Time], board: Board) -> dict[str, Any]:
    """Published over predicted for ncnn: of cycles alone, by the file's constant, by a fit."""
    published, all_cores = one_thread_ms(board.name, "ncnn"), four_threads_ms(board.name, "ncnn")
    made, own = fit(times, published), exposed(board)
    alone = {name: published[name] / time.cycles_ms() for name, time in times.items()}
    ratios = {name: published[name] / time.ms(own) for name, time in times.items()}
    cores = {name: all_cores[name] / time.ms(own, board.cores) for name, time in times.items()}
    print("ncnn: published ms on one thread; ms of cycles, of memory; published over cycles,")
    print("over the prediction, over that of a fit to the others; over that of all cores")
    for name, time in times.items():
        print(
            f"  {name:16} {published[name]:7.1f} {time.cycles_ms():7.1f} {time.memory_ms():7.1f}"
            f"   {alone[name]:.2f}   {ratios[name]:.2f}   {made.left_out[name]:.2f}"
            f"   {cores[name]:.2f}"
        )
    titled = {"cycles alone": alone, "the prediction": ratios, "that of all cores": cores}
    for title, found in titled.items():
        mean = statistics.geometric_mean(found.values())
        low, high = min(found.values()), max(found.values())
        print(f"published over {title}: {mean:.2f} (geometric mean), {low:.2f} to {high:.2f}")
    print(f"exposed: {own:.2f} in the core's file, fitted {made.exposed:.2f}")
    print(f"networks left out are off by {made.spread:.0%} at most")
    return {"cycles_alone": alone, "ratios": ratios, "all_cores": cores, **asdict(made)}


def main() -> None:
    """Count and price every network."""
    made = parser(__doc__ or "")
    made.add_argument("--networks", type=some_of(NETWORKS), metavar="A,B")
    made.add_argument("--root", type=Path, help="keep the unpacked runtimes in this folder")
    made.add_argument("--models", type=Path, help="keep the networks in this folder")
    made.add_argument("--tflite", type=Path, help="folder of NETWORK_float32.tflite")
    made.add_argument("--fit", action="store_true", help="hold ncnn's against published times")
    options = made.parse_args()
    found: dict[str, Any] = {}
    figures: dict[str, Any] = {"board": BOARD, "networks": found}
    try:
        find_qemu()
        with scratch() as folder:
            bench = Bench(load_board(BOARD), make_root(options.root or folder), folder)
            models: Path = options.models or folder / "models"
            models.mkdir(parents=True, exist_ok=True)
            print(f"{bench.board.title}, one thread; llvm-mca {bench.core.release}")
            if options.fit:
                times = {
                    name: measure_ncnn(name, bench, models.resolve())
                    for name in (QUICK if options.quick else NCNN_NETS)
                }
                figures["fit"] = print_fit(times, bench.board)
            else:
                names = options.networks or (QUICK if options.quick else NETWORKS)
                against(names, bench, models.resolve(), options.tflite, found)
    except ToolchainError as error:
        print(f"stopped: {error}")
    finish(figures, options.json)


def against(
    names: Sequence[str], bench: Bench, models: Path, tflite: Path | None, found: dict[str, Any]
) -> None:
    """Every network's sides into `found`, printed as they are counted."""
    for name in names:
        sides = measure(name, bench, models, tflite)
        found[name] = {"ratios": print_network(name, sides), "sides": [asdict(s) for s in sides]}
        sys.stdout.flush()


if __name__ == "__main__":
    main()
