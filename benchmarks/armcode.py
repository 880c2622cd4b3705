# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""What does compiled ARM code execute, and what would a core make of it?

A network's assembly is cut into basic blocks. Counters are added to a copy of it, which
runs once under qemu: so often each block runs. llvm-mca tells the cycles of each. Caches
are not modelled: every load finds its line in L1.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import splitc
from splitc.arrays import Array
from splitc.build.parts import describe_part
from splitc.cost.board import Board
from splitc.ir.graph import LayerGraph
from splitc.runtime.process import find_emulator, run_part
from splitc_targets import pipeline
from splitc_targets.backend import TvmBackend
from splitc_targets.link.toolchain import link_model, zig, zig_target
from splitc_targets.pipeline import Kernel
from splitc_targets.tvm import adapter

_FMA = re.compile(r"\t(fml[as]\tv\d+\.(4s|8h)|[su]dot\tv\d+\.4s)")
_BRANCH = re.compile(r"\t(b|b\.\w+|br|ret|cbn?z|tbn?z)(\t|$)")
_STACK = re.compile(r"\t(ldr|str|ldur|stur|ldp|stp|ld1|st1)\t.*\b[qv]\d+.*\[sp\b")
_COUNTERS = "splitc_counts"


@dataclass
class Block:
    """A basic block: instructions that run one after the other.

    Args:
        number: Its place among the network's blocks.
        function: The function it belongs to.
        lines: Its instructions.
        count: How often one inference runs it.
        cycles: What one run takes in a row of many.
    """

    number: int
    function: str
    lines: list[str] = field(default_factory=list)
    count: int = 0
    cycles: float = 0.0

    @property
    def fmas(self) -> int:
        """Multiply-adds of a vector: of four floats, eight of float16 or sixteen bytes."""
        return sum(_FMA.match(line) is not None for line in self.lines)

    @property
    def spills(self) -> int:
        """Vectors that are written to the stack or read from it."""
        return sum(_STACK.match(line) is not None for line in self.lines)


@dataclass(frozen=True)
class Program:
    """A network's code: its kernels, and the blocks of each."""

    kernels: tuple[Kernel, ...]
    blocks: dict[str, list[Block]]


def program(model: Path, inputs: Sequence[Array], board: Board) -> Program:
    """Compile a simplified ONNX model, and run it once under qemu for its counts.

    Raises:
        ToolchainError: qemu, a C library or zig is missing, or the run fails.
    """
    loaded = splitc.load(model)
    code = pipeline.compile_module(adapter.lower(loaded.proto), board)
    blocks, counted = _with_counters(_assembly(code.library).split("\n"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write_part(folder / "part", code, counted, len(blocks), loaded.graph, board)
        counts = folder / "counts"
        os.environ["SPLITC_COUNTS"] = str(counts)
        run_part(folder / "part", inputs, emulator=find_emulator(board.processor.isa), threads=1)
        for block, count in zip(blocks, np.fromfile(counts, np.uint64), strict=True):
            block.count = int(count)
    return Program(code.kernels, _by_kernel(blocks, code.kernels))


def _assembly(library: Any) -> str:
    """The one LLVM module's assembly."""
    modules = [library.mod]
    while modules[0].kind != "llvm":
        modules += modules.pop(0).imports
    return modules[0].inspect_source("asm")


def _with_counters(lines: Iterable[str]) -> tuple[list[Block], list[str]]:
    """The code's blocks, and the code with a counter at the head of each."""
    blocks: list[Block] = []
    written: list[str] = []
    function, fresh, inside = "", True, False
    for line in lines:
        if line.startswith("\t.type\t") and line.endswith("@function"):
            function = line.split("\t")[2].partition(",")[0]
        inside = (inside or line == f"{function}:") and not line.startswith(".Lfunc_end")
        fresh = fresh or line.startswith((f"{function}:", ".LBB"))
        if not inside or not line.startswith("\t") or line.startswith("\t."):
            written.append(line)
            continue
        if fresh:
            blocks.append(Block(len(blocks), function))
            written += _counter(8 * blocks[-1].number)
        blocks[-1].lines.append(line)
        written += _far(line, len(written))
        fresh = _BRANCH.match(line) is not None
    return blocks, [
        *written,
        f"\t.hidden\t{_COUNTERS}",
        f"\t.comm\t{_COUNTERS},{8 * len(blocks)},8",
    ]


def _counter(offset: int) -> list[str]:
    """Add one to a counter; no register and no flag changes."""
    return [
        "\tstp\tx16, x17, [sp, #-16]!",
        f"\tadrp\tx16, {_COUNTERS}+{offset}",
        f"\tadd\tx16, x16, :lo12:{_COUNTERS}+{offset}",
        "\tldr\tx17, [x16]",
        "\tadd\tx17, x17, #1",
        "\tstr\tx17, [x16]",
        "\tldp\tx16, x17, [sp], #16",
    ]


def _far(line: str, number: int) -> list[str]:
    """A test of a bit reaches 32 KB only: branch over a branch instead."""
    test = re.match(r"\t(tbn?z)\t(.*), (\.\w+)$", line)
    if test is None:
        return [line]
    other = "tbz" if test[1] == "tbnz" else "tbnz"
    here = f".Lsplitc_near{number}"
    return [f"\t{other}\t{test[2]}, {here}", f"\tb\t{test[3]}", f"{here}:"]


_DUMP = """
#include <stdio.h>
#include <stdlib.h>
extern __attribute__((visibility("hidden"))) unsigned long {name}[{count}];
__attribute__((destructor)) static void dump(void) {{
  FILE *file = fopen(getenv("SPLITC_COUNTS"), "wb");
  fwrite({name}, 8, {count}, file);
  fclose(file);
}}
"""


def _write_part(
    folder: Path, made: pipeline.Code, code: list[str], count: int, graph: LayerGraph, board: Board
) -> None:
    """A part for the runner, from assembly in place of the library's own object."""
    folder.mkdir()
    built = TvmBackend().write(made, board, folder, runtime=True)

    def link(output: Path, objects: list[Path]) -> None:
        work = objects[0].parent
        (work / "lib0.s").write_text("\n".join(code), "utf-8")
        (work / "dump.c").write_text(_DUMP.format(name=_COUNTERS, count=count), "utf-8")
        cpu = f"-mcpu={board.processor.cpu.replace('-', '_')}"
        for source in ("lib0.s", "dump.c"):
            zig("cc", "-target", zig_target(board), cpu, "-fPIC", "-c", source, cwd=work)
        others = [path for path in objects if path.name != "lib0.o"]
        link_model(board, output, [work / "lib0.o", work / "dump.o", *others])

    adapter.export(made.library, folder / built.model, link)
    describe_part(built, graph, board, folder)


def _by_kernel(blocks: list[Block], kernels: Sequence[Kernel]) -> dict[str, list[Block]]:
    """A kernel's blocks: those of its function, its caller's, and its loops' on other cores."""
    owner: dict[str, str] = {}
    for kernel in kernels:
        owner |= {kernel.name + "_compute_": kernel.name, "__tvm_ffi_" + kernel.name: kernel.name}
    for block in blocks:
        for line in block.lines:
            named = re.search(r", (\.L__tvm_parallel_lambda[.\d]*)$", line)
            if named and block.function in owner:
                owner[named[1]] = owner[block.function]
    found: dict[str, list[Block]] = {kernel.name: [] for kernel in kernels}
    for block in blocks:
        if block.count and block.function in owner:
            found[owner[block.function]].append(block)
    return found


class Core:
    """llvm-mca's model of a core.

    Args:
        board: Whose core.
    """

    def __init__(self, board: Board) -> None:
        self._command = [
            "llvm-mca",
            f"-mtriple={board.processor.triple}",
            f"-mcpu={board.processor.cpu}",
        ]

    def fma_cycles(self, kind: str = "") -> float:
        """Cycles between multiply-adds where nothing else runs: the limit of the port.

        Args:
            kind: "dot" for those of bytes, "half" for those of float16, else of floats.
        """
        form = {"dot": "sdot\tv{}.4s, v30.16b, v31.16b", "half": "fmla\tv{}.8h, v30.8h, v31.8h"}
        line = "\t" + form.get(kind, "fmla\tv{}.4s, v30.4s, v31.4s")
        lines = [line.format(k) for k in range(24)]
        return self._ask([lines], 5000)[0] / len(lines)

    def tell(self, blocks: list[Block]) -> None:
        """Set the cycles of blocks; of those that hardly run, from their length alone."""
        whole = sum(len(block.lines) * block.count for block in blocks)
        long: list[Block] = []
        short: list[Block] = []
        for block in blocks:
            block.cycles = len(block.lines) / 2
            if len(block.lines) * block.count > 0.001 * whole:
                (long if len(block.lines) > _LONG else short).append(block)
        for some, iterations in ((short, 200), (long, 20)):
            found = self._ask([block.lines for block in some], iterations)
            for block, cycles in zip(some, found, strict=True):
                block.cycles = cycles

    def _ask(self, regions: list[list[str]], iterations: int) -> list[float]:
        """Cycles of one run of each region, in a row of so many."""
        if not regions:
            return []
        text: list[str] = []
        for number, lines in enumerate(regions):
            text += [f"# LLVM-MCA-BEGIN r{number}", *lines, "# LLVM-MCA-END"]
        views = ["-instruction-info=0", "-resource-pressure=0"]
        done = subprocess.run(
            [*self._command, f"-iterations={iterations}", *views],
            input="\n".join(text) + "\n", capture_output=True, text=True, check=True,
        )  # fmt: skip
        found = re.findall(r"^Total Cycles: +(\d+)", done.stdout, re.MULTILINE)
        return [int(cycles) / iterations for cycles in found]


_LONG = 200
"""Instructions from which a block is repeated less often."""
