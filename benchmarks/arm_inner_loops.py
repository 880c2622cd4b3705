# SPDX-License-Identifier: Apache-2.0
"""How close do the loops emitted for an ARM core come to its multiply-add port?

ResNet50 and MobileNetV2 are compiled for the board; qemu counts how often each basic block
runs, llvm-mca's model of the core tells its cycles. A kernel's hot loops are the
blocks with a twentieth or more of its multiply-adds; its share of the limit is the least
cycles in which the port can start them over those predicted. Vectors written to or read from
the stack count as spills; those in other blocks with a twentieth of the kernel's cycles
(stores, transforms) are listed beside. Loads are taken to hit L1, so the times of kinds are
those of the arithmetic alone; the whole network's are as `splitc profile --static` tells them,
with memory.
Bar: 80 % of the limit, weighted by FLOPs over each network, and no spills; goal 92 %.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from networks import HALVES, NAMES, QUANTISED
from published_times import four_threads_ms
from sides import prepare, read_arrays

import splitc
from common import finish, parser, some_of
from splitc.build.backend import Kernel
from splitc.cost.board import Board, load_board
from splitc.errors import ToolchainError
from splitc.runtime.process import find_emulator
from splitc_targets import pipeline
from splitc_targets.emitted.blocks import Block
from splitc_targets.emitted.core_model import CoreModel
from splitc_targets.emitted.counting import count_blocks
from splitc_targets.emitted.estimate import call_time
from splitc_targets.tvm import adapter

BAR, GOAL = 0.80, 0.92
BOARDS = ("rpi4", "rpi3", "rpi5", "rpi-zero2w")
NETWORKS = ("resnet50", "mobilenet_v2")
QUICK = ["mobilenet_v2"]
HOT = 0.05


@dataclass(frozen=True)
class Row:
    """A kernel's figures, over one inference.

    Args:
        kind: "conv1x1", "conv3x3" (direct), "winograd", "conv", "depthwise", "gemm", "dot" and
            "depthwise_dot" (of bytes), "half" (of float16) or "other".
        flops: Of the mathematics.
        instructions: Executed.
        fmas: Vector multiply-adds executed.
        cycles: Predicted, of all its blocks.
        limit_cycles: Least in which the port starts the multiply-adds.
        hot_cycles, hot_limit_cycles: The same in its hot loops; 0 where it has none.
        spills: In a run through each block of its hot loops.
        other_spills: The same in its other blocks with a twentieth of its cycles.
        all_cores_ms: Predicted for all its calls on the whole board, as `splitc profile --static`.
    """

    name: str
    kind: str
    op: str
    shapes: str
    flops: int
    instructions: int
    fmas: int
    cycles: float
    limit_cycles: float
    hot_cycles: float
    hot_limit_cycles: float
    spills: int
    other_spills: int
    all_cores_ms: float

    @property
    def share(self) -> float:
        """Of the limit, in the hot loops."""
        return self.hot_limit_cycles / self.hot_cycles if self.hot_cycles else 0.0


def kind_of(kernel: Kernel) -> str:
    """Which of the table's kinds a kernel is of."""
    if kernel.rule.startswith("winograd"):
        return "winograd"
    if kernel.rule == "strassen":
        return "conv1x1"
    if kernel.rule in ("gemv", "gemm", "matmul") or kernel.op.startswith("matmul"):
        return "gemm"
    if kernel.rule != "conv":
        known = ("depthwise", "depthwise_dot", "dot", "half")
        return kernel.rule if kernel.rule in known else "other"
    weights = kernel.shapes.partition(" * ")[2].partition(" ")[0]
    return {"1x1": "conv1x1", "3x3": "conv3x3"}.get("x".join(weights.split("x")[-2:]), "conv")


def measure(kernel: Kernel, blocks: list[Block], limits: Mapping[str, float], board: Board) -> Row:
    """A kernel's figures from its blocks, whose cycles are told, and a multiply-add's by kind."""

    def total(of: Callable[[Block], float], some: list[Block]) -> float:
        return sum(of(block) * block.count for block in some)

    kind = kind_of(kernel)
    fma_cycles = limits[kind if kind in limits else ""]
    fmas = total(lambda b: b.fmas, blocks)
    cycles = total(lambda b: b.cycles, blocks)
    hot = [b for b in blocks if kind != "other" and b.fmas * b.count >= HOT * fmas > 0]
    others = [b for b in blocks if b not in hot and b.cycles * b.count >= HOT * cycles]
    return Row(
        kernel.name, kind, kernel.op, kernel.shapes, kernel.flops * kernel.calls,
        instructions=int(total(lambda b: len(b.lines), blocks)),
        fmas=int(fmas),
        cycles=cycles,
        limit_cycles=fmas * fma_cycles,
        hot_cycles=total(lambda b: b.cycles, hot),
        hot_limit_cycles=total(lambda b: b.fmas, hot) * fma_cycles,
        spills=sum(block.spills for block in hot),
        other_spills=sum(block.spills for block in others),
        all_cores_ms=call_time(kernel, blocks, board).seconds * kernel.calls * 1e3,
    )  # fmt: skip


def network(name: str, board: Board, core: CoreModel) -> list[Row]:
    """A network's kernels."""
    with tempfile.TemporaryDirectory() as folder:
        made = prepare(name, Path(folder))
        loaded = splitc.load(made.simplified)
        code = pipeline.compile_module(adapter.lower(loaded.proto), board)
        blocks = count_blocks(code, loaded.graph, board, read_arrays(made.inputs))
    extra = (("dot", "+dotprod"), ("half", "+fullfp16"))
    limits = {
        kind: core.fma_cycles(kind) for kind, needs in extra if needs in board.processor.features
    }
    limits["depthwise_dot"] = limits.get("dot", 0.0)
    limits[""] = core.fma_cycles()
    rows: list[Row] = []
    called = {call.name for call in code.calls}
    for kernel in code.kernels:
        if kernel.name in called:  # the others run once, when a part is loaded
            core.tell(blocks[kernel.name])
            rows.append(measure(kernel, blocks[kernel.name], limits, board))
    return rows


def weighted(rows: list[Row]) -> float:
    """Mean share of the limit of kernels with hot loops, weighted by FLOPs."""
    hot = [row for row in rows if row.hot_cycles]
    return sum(row.share * row.flops for row in hot) / max(1, sum(row.flops for row in hot))


def print_kernels(rows: list[Row]) -> None:
    """Those with hot loops, the one that loses most first; and what spills elsewhere."""
    flops = sum(row.flops for row in rows)
    print("  share of limit  FLOPs  spills (others)  Minstr  kernel")
    for row in sorted(rows, key=lambda row: (row.share - 1) * row.flops):
        if row.hot_cycles or row.other_spills:
            share = f"{row.share:14.1%}" if row.hot_cycles else " " * 14
            print(
                f"  {share} {row.flops / flops:6.1%} {row.spills:7} {row.other_spills:8} "
                f"{row.instructions / 1e6:7.1f}  {row.name:14} {row.shapes}"[:120]
            )


def kinds(rows: list[Row], board: Board) -> list[dict[str, Any]]:
    """Figures of each kind over whole kernels: transforms, borders and stores included."""
    found: list[dict[str, Any]] = []
    for kind in [*dict.fromkeys(row.kind for row in rows), "all"]:
        some = [row for row in rows if kind in (row.kind, "all")]
        cycles, flops = sum(row.cycles for row in some), sum(row.flops for row in some)
        found.append({
            "kind": kind,
            "flops_share": flops / sum(row.flops for row in rows),
            "share_of_limit": sum(row.limit_cycles for row in some) / cycles,
            # What a board file calls efficiency: Winograd's exceeds 1.
            "efficiency": flops / board.flops_per_cycle / cycles,
            "predicted_ms": cycles / board.clock_hz * 1e3,
            "instructions": sum(row.instructions for row in some),
        })  # fmt: skip
    return found


def print_kinds(table: list[dict[str, Any]], board: Board) -> None:
    """The table of kinds."""
    print(f"  whole kernels, one core at {board.clock_hz / 1e9:g} GHz, no cache misses:")
    print("  kind        FLOPs  of limit  efficiency  predicted ms  Minstr")
    for row in table:
        millions = row["instructions"] / 1e6
        print(
            f"  {row['kind']:10} {row['flops_share']:6.1%} {row['share_of_limit']:9.1%} "
            f"{row['efficiency']:11.2f} {row['predicted_ms']:13.2f} {millions:7.1f}"
        )


def reason_to_skip() -> str:
    """What is missing here, or nothing."""
    try:
        CoreModel.of(load_board(BOARDS[0]).processor)
        find_emulator("aarch64")
    except ToolchainError as error:
        return str(error)
    return ""


def main() -> None:
    """Compile, count and predict every network."""
    made = parser(__doc__ or "")
    known = (*NAMES, *QUANTISED, *HALVES)
    made.add_argument("--networks", type=some_of(known), metavar="A,B", help=", ".join(known))
    made.add_argument("--board", choices=BOARDS, default=BOARDS[0])
    options = made.parse_args()
    reason = reason_to_skip()
    if reason:
        print(f"skipped: {reason}")
        return
    board = load_board(options.board)
    core = CoreModel.of(board.processor)
    print(f"{board.title}; limit: a vector multiply-add in {core.fma_cycles():.2f} cycles")
    figures: dict[str, Any] = {"board": board.name, "networks": {}}
    published = four_threads_ms(board.name, "ncnn")
    for name in options.networks or (QUICK if options.quick else NETWORKS):
        rows = network(name, board, core)
        share, spills = weighted(rows), sum(row.spills for row in rows)
        table = kinds(rows, board)
        print(f"{name}: {share:.1%} of the limit in hot loops, weighted by FLOPs; {spills} spills")
        print_kernels(rows)
        print_kinds(table, board)
        together = sum(row.all_cores_ms for row in rows)
        known = published.get(name)
        against = f"; ncnn, measured: {known} ms, {known / together:.2f} times it" if known else ""
        print(f"  predicted, {board.cores} cores and one memory: {together:.1f} ms{against}")
        for what, met in (
            (f"bar: {name} >= {BAR:.0%} of the limit", share >= BAR),
            (f"goal: {name} >= {GOAL:.0%} of the limit", share >= GOAL),
            (f"bar: {name} without spills in hot loops", spills == 0),
        ):
            print(f"{what}: {'met' if met else 'missed'}")
        sys.stdout.flush()
        figures["networks"][name] = {
            "share_of_limit": share, "spills": spills, "kinds": table,
            "predicted_ms": together, "published_ms": known,
            "kernels": [asdict(row) for row in rows],
        }  # fmt: skip
    finish(figures, options.json)


if __name__ == "__main__":
    main()
