# SPDX-License-Identifier: Apache-2.0
"""What do kernels for NVIDIA's GPUs take of a multiprocessor, and what bounds their time?

    python benchmarks/gpu_kernels.py [--board cuda-sm90] [--precision tf32,float16]
        [--networks NAME,NAME] [--limit N] [--sass]

Networks are compiled whole for a board, and NVIDIA's assembler says what each kernel takes:
registers, shared memory, what it spills. From that follows how many threads a multiprocessor
holds at a time (occupancy), and from the board's figures the least time that the kernel can
take: its multiply-adds at the peak, or its bytes over the memory's bandwidth; how many of the
multiprocessors its blocks can keep busy is told beside. No GPU is needed and none is asked:
nothing here is a measured time. Bar: nothing spills, nothing falls back.

`--sass` lists the loops that multiply instead, by the part of their instructions that does, least
first: what else a pass has, and what it loads or copies by less than 16 bytes. A multiplication on
tensor cores takes several cycles, so a small part is not in itself a slow loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import networks
from gpu_sass import Loop, loops_of

import splitc
from common import finish, parser, some_of
from splitc.build.backend import Kernel
from splitc.cost.board import Board, Gpu, load_board
from splitc.cost.precision import PRECISIONS, at_precision, product_flops
from splitc.cost.topology import SERVER
from splitc_targets.backend import TvmBackend
from splitc_targets.gpu import cuda
from splitc_targets.gpu.device import REGISTERS, RESIDENT, SHARED_BYTES
from splitc_targets.gpu.pipeline import GpuCode, compile_module

QUICK = ["squeezenet", "mobilenet_v2"]


@dataclass(frozen=True)
class Row:
    """A kernel of a network.

    Args:
        calls: In one inference.
        floor_us: The least time that a call can take by the board's roofline.
        filled: Share of the multiprocessors that its blocks keep busy, at most 1.
        occupancy: Threads that a multiprocessor holds over those that it could.
        tensor: Whether tensor cores multiply.
        loop: That multiplies; None where nobody asked, or there is none.
    """

    network: str
    precision: str
    name: str
    op: str
    shapes: str
    calls: int
    flops: int
    floor_us: float
    blocks: int
    threads: int
    registers: int
    shared_bytes: int
    spill_bytes: int
    occupancy: float
    filled: float
    tensor: bool
    loop: Loop | None = None


def occupancy(usage: cuda.Usage, threads: int, arch: str) -> float:
    """Share of a multiprocessor's threads that blocks of a kernel can fill."""
    most = RESIDENT[arch]
    by_registers = REGISTERS // max(1, usage.registers * threads)
    by_shared = SHARED_BYTES[arch] // (usage.shared_bytes + 1024)
    return min(by_registers, by_shared, most // threads, 32) * threads / most


def peak(board: Board, source: str) -> float:
    """FLOP/s that a kernel can reach: on tensor cores, where its source calls them."""
    return product_flops(board) if _multiplies(source) else board.peak_flops


def _multiplies(source: str) -> bool:
    """Whether a kernel calls tensor cores."""
    return "splitc_multiply_" in source


def bodies(source: str, symbols: Iterable[str]) -> dict[str, str]:
    """The text of each kernel."""
    starts = sorted((source.rindex(f" {symbol}("), symbol) for symbol in symbols)
    ends = [start for start, _ in starts[1:]] + [len(source)]
    return {symbol: source[start:end] for (start, symbol), end in zip(starts, ends, strict=True)}


def rows_of(network: str, code: GpuCode, board: Board, *, sass: bool = False) -> Iterator[Row]:
    """The kernels of a network compiled for a board; with their loops if `sass`."""
    unit = board.unit
    assert isinstance(unit, Gpu)
    made = cuda.compile_source(code.program.source, unit.arch)
    usage, loops = made.usage, loops_of(made.code) if sass else {}
    kernels = {kernel.name: kernel for kernel in code.kernels}
    launches = {launch.symbol: launch for launch in code.program.launches}
    written = bodies(code.program.source, usage)
    for symbol, used in usage.items():
        kernel = kernels[_stem(symbol, kernels)]
        launch = launches[symbol]
        blocks, threads = (_product(each) for each in (launch.blocks, launch.threads))
        moved = kernel.weight_bytes + kernel.tensor_bytes
        floor = max(kernel.flops / peak(board, written[symbol]), moved / board.memory_bandwidth)
        yield Row(
            network, unit.precision, symbol, kernel.op, kernel.shapes, kernel.calls, kernel.flops,
            floor * 1e6, blocks, threads, used.registers, used.shared_bytes, used.spill_bytes,
            occupancy(used, threads, unit.arch), min(1.0, blocks / board.cores),
            _multiplies(written[symbol]), loops.get(symbol),
        )  # fmt: skip


def _stem(symbol: str, kernels: dict[str, Kernel]) -> str:
    """The kernel that a name in the source belongs to."""
    name = symbol
    while name not in kernels:
        name = name.rpartition("_")[0]
    return name


def _product(sizes: tuple[int, int, int]) -> int:
    return sizes[0] * sizes[1] * sizes[2]


def main() -> None:
    """Compile networks and list their kernels, those first that fill the least."""
    made = parser(__doc__ or "")
    made.add_argument("--board", default="cuda-sm90")
    made.add_argument("--precision", type=some_of(PRECISIONS), default=["float32"])
    made.add_argument("--networks", type=some_of(networks.NAMES), metavar="NAME,NAME")
    made.add_argument("--limit", type=int, default=30, metavar="N")
    made.add_argument("--sass", action="store_true", help="the loops, by what multiplies in them")
    options = made.parse_args()
    board = load_board(options.board)
    found: list[Row] = []
    fallbacks: dict[str, int] = {}
    for name in options.networks or (QUICK if options.quick else networks.NAMES):
        model = splitc.load(networks.build(name))
        for precision in options.precision:
            there = at_precision({SERVER: board}, precision)[SERVER]
            code = compile_module(TvmBackend().lower(model), there)
            fallbacks[name] = len(code.fallbacks)
            rows = list(rows_of(name, code, there, sass=options.sass))
            found += rows
            _tell(name, rows, fallbacks[name])
    (_print_loops if options.sass else _print)(found, options.limit, board)
    shown: dict[str, Any] = {"board": board.name, "kernels": [asdict(row) for row in found]}
    finish({**shown, "fallbacks": fallbacks}, options.json)


def _tell(name: str, rows: list[Row], fallbacks: int) -> None:
    """One line on a network: its least time, and what of its arithmetic tensor cores do."""
    floor = sum(row.floor_us * row.calls for row in rows)
    spilled = sum(row.spill_bytes > 0 for row in rows)
    flops = sum(row.flops * row.calls for row in rows)
    tensor = sum(row.flops * row.calls for row in rows if row.tensor)
    print(f"{name:16} {rows[0].precision:8} {len(rows):4} kernels, "
          f"{sum(row.calls for row in rows):4} calls, least {floor / 1e3:7.3f} ms by the roofline, "
          f"{100 * tensor / max(1, flops):3.0f} % on tensor cores; {spilled} spill, "
          f"{fallbacks} fell back")  # fmt: skip


def _print(found: list[Row], limit: int, board: Board) -> None:
    heavy = sorted(found, key=lambda row: (row.filled * row.occupancy, -row.floor_us))[:limit]
    print(f"\nOn {board.title}, those that fill it least first:")
    print(f"{'network':14} {'in':8} {'computes':26} {'blocks':>6} {'thr':>4} {'regs':>4} "
          f"{'shared':>6} {'spill':>5} {'occ':>4} {'fill':>4} {'least us':>8}")  # fmt: skip
    for row in heavy:
        print(f"{row.network:14} {row.precision:8} {row.op[:26]:26} {row.blocks:6} {row.threads:4} "
              f"{row.registers:4} {row.shared_bytes:6} {row.spill_bytes:5} "
              f"{row.occupancy:4.2f} {row.filled:4.2f} {row.floor_us:8.2f}")  # fmt: skip


def _print_loops(found: list[Row], limit: int, board: Board) -> None:
    loops = [(row, row.loop) for row in found if row.loop is not None]
    print(f"\nOn {board.title}, the loops that multiply least first:")
    print(f"{'network':14} {'in':8} {'computes':30} {'shapes':48} share instr.")
    for row, loop in sorted(loops, key=lambda pair: pair[1].share)[:limit]:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(loop.kinds.items()))
        head = f"{row.network:14} {row.precision:8} {row.op[:30]:30} {row.shapes[:48]:48}"
        print(f"{head} {loop.share:5.2f} {loop.instructions:5}  {kinds}; {loop.narrow} narrow")


if __name__ == "__main__":
    main()
