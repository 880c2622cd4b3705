# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""Is splitc's code of bytes for a Raspberry Pi 5 quicker than XNNPACK's, by one method?

LiteRT hands a network on bytes to XNNPACK, whose AArch64 code qemu runs on one thread as a
Cortex-A76; how often its blocks run is counted, and they are priced by llvm-mca as those of
splitc's are in `arm_inner_loops`. All cores are taken to share all of either's cycles evenly, and
a call of a kernel (of an operator, with XNNPACK) to cost what the board's file says. That time of
XNNPACK's is held against a measured one: measured over predicted calibrates what is predicted for
splitc, of the same network on the same board. Both with and without the cost of calls, as that is
an assumption; the bar is for the larger: MobileNetV2 in 3.9 ms; goal 3.2.

Wanted beside splitc's needs, on Debian: `apt install qemu-user llvm-19`. `--tflite FOLDER` has
NETWORK_int8.tflite, in integers with a scale for each channel, of networks that `networks.build`
makes: `onnx2tf -i NETWORK.onnx -o SAVED -b 1 -n`, then tensorflow's
TFLiteConverter.from_saved_model(SAVED) with `optimizations = [Optimize.DEFAULT]`, `supported_ops =
[OpsSet.TFLITE_BUILTINS_INT8]` and a few standard normal images as `representative_dataset`. The
two are quantised by different tools: their outputs are compared by correlation.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from arm_counts import build_plugin, count, find_qemu, instructions, priced
from arm_root import make_root, python
from sides import Network, prepare, read_arrays

import splitc
from common import finish, parser, said, some_of
from splitc.cost.board import Board, load_board
from splitc.errors import ToolchainError
from splitc.scratch import scratch
from splitc_targets import pipeline
from splitc_targets.emitted.blocks import Block
from splitc_targets.emitted.core_model import CoreModel
from splitc_targets.emitted.counting import count_blocks
from splitc_targets.tvm import adapter

BOARD = "rpi5"
MEASURED_MS = {"mobilenet_v2-int8": 3.98}
"""XNNPACK's under ExecuTorch there, int8, four threads: Arm's learning path executorch-on-arm,
median of 50 runs."""
BARS = {"mobilenet_v2-int8": (3.9, 3.2)}
"""Bar and goal, in milliseconds, calibrated."""
ALIKE = 0.9
"""Least correlation of the outputs."""
_GUEST = Path(__file__).with_name("arm_guest.py")
_MOVES = ("Reshape", "Flatten", "Shape", "Constant", "Squeeze", "Unsqueeze")


@dataclass(frozen=True)
class Side:
    """What one inference executes, on one core.

    Args:
        calls: Of kernels or operators.
        cycles: Predicted, no load missing L1.
    """

    runtime: str
    instructions: int
    calls: int
    cycles: float

    def ms(self, board: Board, call_s: float) -> float:
        """On all cores, a call costing so much."""
        return (self.cycles / board.cores / board.clock_hz + self.calls * call_s) * 1e3


def ours(network: Network, board: Board, core: CoreModel) -> tuple[Side, dict[str, float]]:
    """splitc's code, and its cycles by the rules that wrote its kernels."""
    loaded = splitc.load(str(network.simplified))
    code = pipeline.compile_module(adapter.lower(loaded.proto), board)
    counted = count_blocks(code, loaded.graph, board, read_arrays(network.inputs))
    called = {call.name for call in code.calls}  # the others run once, when a part is loaded
    found: dict[str, float] = {}
    executed = 0
    for kernel in code.kernels:
        if kernel.name in called:
            blocks = counted[kernel.name]
            core.tell(blocks)
            cycles = sum(block.cycles * block.count for block in blocks)
            found[kernel.rule] = found.get(kernel.rule, 0.0) + cycles
            executed += sum(len(block.lines) * block.count for block in blocks)
    return Side("splitc", executed, len(code.calls), sum(found.values())), found


def operators(proto: onnx.ModelProto) -> int:
    """Operators of a quantised network that compute something."""
    return sum(node.op_type not in _MOVES for node in proto.graph.node)


def kind_of(block: Block) -> str:
    """What a block of XNNPACK's is for, by its instructions."""
    names = {line.split()[0] for line in block.lines}
    if "sdot" in names:
        return "products"
    if names & {"smull", "smlal"}:
        return "depthwise, with its ends"
    return "ends of products" if {"scvtf", "fcvtns"} <= names else "the rest"


def by_kind(blocks: Iterable[Block]) -> dict[str, float]:
    """Cycles by what they are for, the most first."""
    found: dict[str, float] = {}
    for block in blocks:
        kind = kind_of(block)
        found[kind] = found.get(kind, 0.0) + block.cycles * block.count
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def xnnpack(
    network: Network, model: Path, root: Path, folder: Path, core: CoreModel
) -> tuple[Side, dict[str, float], float]:
    """What XNNPACK executes, its cycles by kind, and its output's correlation with ours.

    Raises:
        ToolchainError: Something is missing or fails, or it computes something else.
    """
    proto, (image,) = onnx.load(network.original), read_arrays(network.inputs)
    given, written = folder / "in.npy", folder / "out.npy"
    np.save(given, image)
    ran = count(
        [python(root), str(_GUEST), "litert", str(model), str(given), str(written)],
        build_plugin(folder), root, core.cpu.cpu, {"PYTHONPATH": str(root / "site")},
    )  # fmt: skip
    alike = float(np.corrcoef(np.load(written).ravel(), _output(proto, image))[0, 1])
    if alike < ALIKE:
        raise ToolchainError("XNNPACK computes something else", at=f"correlation {alike:.2f}")
    blocks = priced(ran.blocks, core)
    cycles = sum(block.cycles * block.count for block in blocks)
    side = Side("XNNPACK", instructions(ran.blocks), operators(proto), cycles)
    return side, by_kind(blocks), alike


def _output(proto: onnx.ModelProto, image: Any) -> Any:
    """onnxruntime's output of the network that splitc compiles."""
    import onnxruntime

    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return np.asarray(session.run(None, {session.get_inputs()[0].name: image})[0]).ravel()


def print_side(side: Side, found: dict[str, float], board: Board) -> None:
    """What one inference of a runtime is made of."""
    print(
        f"{side.runtime}: {side.instructions / 1e6:.1f} Minstr, {side.calls} calls,"
        f" {side.cycles / 1e6:.2f} Mcycles, {side.cycles / board.clock_hz * 1e3:.2f} ms on one core"
    )
    for kind, cycles in found.items():
        share = cycles / side.cycles
        print(f"  {kind:26} {cycles / 1e6:7.2f} Mcycles {share:6.1%}")


def print_calibrated(name: str, mine: Side, other: Side, board: Board) -> dict[str, Any]:
    """Predicted times on all cores, and splitc's calibrated by XNNPACK's measured one."""
    measured = MEASURED_MS[name]
    print(f"{name}: cycles over XNNPACK's: {mine.cycles / other.cycles:.2f}")
    found: dict[str, Any] = {}
    for call_us in (board.layer_overhead_s * 1e6, 0.0):
        times = [side.ms(board, call_us / 1e6) for side in (mine, other)]
        factor = measured / times[1]
        found[f"{call_us:g} us a call"] = {
            "splitc_ms": times[0], "xnnpack_ms": times[1], "factor": factor,
            "calibrated_ms": times[0] * factor,
        }  # fmt: skip
        print(
            f"{board.cores} cores, {call_us:g} us a call: splitc {times[0]:.2f} ms, XNNPACK"
            f" {times[1]:.2f}, measured {measured}: factor {factor:.2f}, splitc calibrated"
            f" {times[0] * factor:.2f} ms"
        )
    if name in BARS:
        most = max(each["calibrated_ms"] for each in found.values())
        for what, bar in zip(("bar", "goal"), BARS[name], strict=True):
            said(f"{name} on {board.name}, calibrated, {what}", most, bar, " ms")
    return found


def measure(
    name: str, tflite: Path, root: Path, folder: Path, board: Board, core: CoreModel
) -> dict[str, Any]:  # fmt: skip
    """Both sides of a network, printed and as figures."""
    network = prepare(name, folder)
    mine, rules = ours(network, board, core)
    model = tflite / f"{name.rpartition('-')[0]}_int8.tflite"
    other, found, alike = xnnpack(network, model, root, folder, core)
    for side, parts in ((mine, rules), (other, found)):
        print_side(side, parts, board)
    print(f"outputs correlate by {alike:.3f}")
    return {
        "sides": [asdict(mine), asdict(other)], "kinds": {"splitc": rules, "XNNPACK": found},
        "calibrated": print_calibrated(name, mine, other, board),
    }  # fmt: skip


def main() -> None:
    """Count and price both."""
    made = parser(__doc__ or "")
    made.add_argument("--networks", type=some_of(MEASURED_MS), metavar="A,B")
    made.add_argument("--root", type=Path, help="keep the unpacked runtimes in this folder")
    made.add_argument("--tflite", type=Path, required=True, help="folder of NETWORK_int8.tflite")
    options = made.parse_args()
    board = load_board(BOARD)
    figures: dict[str, Any] = {}
    try:
        find_qemu()
        core = CoreModel.of(board.processor)
        print(f"{board.title}; llvm-mca {core.release}, no cache misses")
        with scratch() as folder:
            root = make_root(options.root or folder, BOARD)
            for name in options.networks or MEASURED_MS:
                figures[name] = measure(name, options.tflite, root, folder, board, core)
                sys.stdout.flush()
    except ToolchainError as error:
        print(f"stopped: {error}")
    finish(figures, options.json)


if __name__ == "__main__":
    main()
