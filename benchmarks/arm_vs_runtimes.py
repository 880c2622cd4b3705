# SPDX-License-Identifier: Apache-2.0
"""Is splitc's code for a Raspberry Pi 4 quicker than ncnn's and XNNPACK's, by one method?

Each runtime's AArch64 code computes a network in float32 on one thread under qemu, which counts
how often each basic block runs; llvm-mca's model of the core tells its cycles. splitc's code is
counted the same way, not from its assembly: what one more inference of a part's runner executes.
Outputs are held against splitc's. Bars: cycles over the best of the others, at most 0.9 each.

What is predicted for ncnn is held against the times that it publishes for one thread on that
board: measured over predicted, the method's own error, for ncnn's networks and by network. One
factor for all, their geometric mean, calibrates what is predicted for splitc; the factors' range
says how far that goes. Wanted beside splitc's needs, on Debian: `apt install qemu-user llvm`,
`pip install pnnx`. For XNNPACK `--tflite FOLDER` has NETWORK_float32.tflite, as
`onnx2tf -i NETWORK.onnx -b 1 -n` writes it of what `--models FOLDER` leaves there.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from arm_counts import build_plugin, count, find_qemu, instructions, priced
from arm_root import make_root, python
from published_times import COLUMNS
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
        difference: Of its output to splitc's, relative to the largest value.
        fmas: Vector multiply-adds.
        cycles: Predicted, no load missing L1.
    """

    runtime: str
    instructions: int
    fmas: int
    cycles: float
    difference: float = 0.0

    @staticmethod
    def of(runtime: str, counts: Mapping[bytes, int], core: CoreModel, difference: float) -> Side:
        """From the counts of its blocks."""
        blocks = priced(counts, core)
        return Side(
            runtime, instructions(counts), sum(block.fmas * block.count for block in blocks),
            sum(block.cycles * block.count for block in blocks), difference,
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
        self._plugin = build_plugin(folder)

    def count(self, *command: str) -> Counter[bytes]:
        """The blocks that a program runs."""
        env = {"PYTHONPATH": str(self.root / "site")}
        return count(command, self._plugin, self.root, self.board.processor.cpu, env)

    def splitc(self, network: Network, given: Path) -> tuple[Counter[bytes], Array]:
        """What a second inference of splitc's code adds, and its output."""
        part, out = self.folder / f"{network.name}.part", self.folder / "out"
        out.mkdir(exist_ok=True)
        with Worker("splitc", 2) as worker:
            model = str(network.simplified)
            worker.ask("compile", model=model, board=self.board.name, part=str(part))
        runs = [
            self.count(str(part / RUNNER), "--part", str(part), "--out", str(out),
                       "--threads", "1", "--repeat", repeat, str(given))
            for repeat in ("1", "2")
        ]  # fmt: skip
        return added(*runs), np.load(out / "0.npy")

    def other(self, runtime: str, model: Path, given: Path) -> tuple[Counter[bytes], Array]:
        """What an inference of another runtime executes, and its output."""
        written = self.folder / f"{runtime}.npy"
        counts = self.count(
            python(self.root), str(_GUEST), runtime, str(model), str(given), str(written)
        )
        return counts, np.load(written)


def added(one: Mapping[bytes, int], two: Mapping[bytes, int]) -> Counter[bytes]:
    """What two runs execute more often than one."""
    return Counter({
        words: more for words, times in two.items() if (more := times - one.get(words, 0)) > 0
    })  # fmt: skip


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
    (image,) = read_arrays(network.inputs)
    given = bench.folder / "in.npy"
    np.save(given, image)
    counts, ours = bench.splitc(network, given)
    sides = [Side.of("splitc", counts, bench.core, 0.0)]
    others = {"ncnn": ncnn_model(network, models)}
    written = tflite / f"{name}_float32.tflite" if tflite else None
    if written and written.is_file():
        others["litert"] = written
    for runtime, model in others.items():
        counts, theirs = bench.other(runtime, model, given)
        off = float(np.abs(ours.ravel() - theirs.ravel()).max() / np.abs(ours).max())
        if off > AGREE:
            raise ToolchainError(f"{runtime} computes something else", at=f"{name}: {off:.2g}")
        sides.append(Side.of(runtime, counts, bench.core, off))
    return sides


def published_ms(name: str) -> float | None:
    """ncnn's own time of a network on the board, on one thread."""
    for column in COLUMNS:
        if column.board == BOARD and column.source.startswith("ncnn"):
            return column.one_thread_ms.get(name)
    return None


def factor(side: Side, board: Board, measured_ms: float) -> float:
    """Measured time over the predicted."""
    return measured_ms / (side.cycles / board.clock_hz * 1e3)


def print_network(name: str, sides: list[Side], board: Board) -> float:
    """The table of a network; cycles of splitc's over the best of the others."""
    ours = sides[0]
    print(f"{name}: runtime, Minstr (ours/theirs), Mfma, Mcycles (ours/theirs), ms, difference")
    for side in sides:
        print(
            f"  {side.runtime:8} {side.instructions / 1e6:8.1f}"
            f" ({ours.instructions / side.instructions:.2f}) {side.fmas / 1e6:7.1f}"
            f" {side.cycles / 1e6:8.1f} ({ours.cycles / side.cycles:.2f})"
            f" {side.cycles / board.clock_hz * 1e3:7.1f}  {side.difference:.1e}"
        )
    ratio = ours.cycles / min(side.cycles for side in sides[1:])
    said(f"{name}: cycles over the best of the others", ratio, BAR)
    said(f"{name}: the same, goal", ratio, GOAL)
    return ratio


def print_factors(found: Mapping[str, list[Side]], board: Board) -> dict[str, float]:
    """Measured over predicted for ncnn, and splitc's times calibrated by their mean."""
    factors: dict[str, float] = {}
    for name, sides in found.items():
        measured = published_ms(name)
        if measured is not None:
            ncnn = next(side for side in sides if side.runtime == "ncnn")
            factors[name] = factor(ncnn, board, measured)
            print(f"  {name}: ncnn on one thread {measured} ms, {factors[name]:.2f} predicted")
    if factors:
        mean = statistics.geometric_mean(factors.values())
        low, high = min(factors.values()), max(factors.values())
        print(f"measured over predicted: {mean:.2f} (geometric mean), {low:.2f} to {high:.2f}")
        for name, sides in found.items():
            ms = sides[0].cycles / board.clock_hz * 1e3
            print(
                f"  {name}: splitc on one thread, calibrated {ms * mean:.1f} ms"
                f" ({ms * low:.1f} to {ms * high:.1f})"
            )
    return factors


def main() -> None:
    """Count and price every network."""
    made = parser(__doc__ or "")
    made.add_argument("--networks", type=some_of(NETWORKS), metavar="A,B")
    made.add_argument("--root", type=Path, help="keep the unpacked runtimes in this folder")
    made.add_argument("--models", type=Path, help="keep the networks in this folder")
    made.add_argument("--tflite", type=Path, help="folder of NETWORK_float32.tflite")
    options = made.parse_args()
    board = load_board(BOARD)
    found: dict[str, list[Side]] = {}
    ratios: dict[str, float] = {}
    try:
        find_qemu()
        with scratch() as folder:
            bench = Bench(board, make_root(options.root or folder), folder)
            models: Path = options.models or folder / "models"
            models.mkdir(parents=True, exist_ok=True)
            print(f"{board.title}, one thread; llvm-mca {bench.core.release}, no cache misses")
            for name in options.networks or (QUICK if options.quick else NETWORKS):
                found[name] = measure(name, bench, models.resolve(), options.tflite)
                ratios[name] = print_network(name, found[name], board)
                sys.stdout.flush()
    except ToolchainError as error:
        print(f"stopped: {error}")
    figures: dict[str, Any] = {
        "board": BOARD, "ratios": ratios, "factors": print_factors(found, board),
        "networks": {name: [asdict(side) for side in sides] for name, sides in found.items()},
    }  # fmt: skip
    finish(figures, options.json)


if __name__ == "__main__":
    main()
