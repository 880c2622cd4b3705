# SPDX-License-Identifier: Apache-2.0
"""How often one inference runs each basic block of a part's code: counted under qemu."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from splitc.arrays import Array
from splitc.build.backend import Built
from splitc.build.parts import describe_part
from splitc.cost.board import Board
from splitc.ir.graph import LayerGraph
from splitc.runtime.process import find_emulator, run_part
from splitc.scratch import scratch
from splitc_targets.emitted.blocks import COUNTERS, Block, by_kernel, with_counters
from splitc_targets.link.toolchain import (
    LIBRARY,
    RUNNER,
    install_runtime,
    link_model,
    zig,
    zig_target,
)
from splitc_targets.pipeline import Code
from splitc_targets.tvm import adapter

_MODEL, _WEIGHTS = "model.so", "weights.bin"


def count_blocks(
    code: Code, graph: LayerGraph, board: Board, inputs: Sequence[Array]
) -> Mapping[str, list[Block]]:
    """The blocks that ran of each kernel, by its name, in one run on one core.

    Args:
        code: A network's, for the board.
        graph: Its layers.
        board: An AArch64 one.
        inputs: In the graph's order.

    Raises:
        ToolchainError: qemu, a C library or zig is missing, or the run fails.
    """
    emulator = find_emulator(board.processor.isa)
    blocks, counted = with_counters(adapter.assembly(code.library).split("\n"))
    with scratch() as folder:
        counts = folder / "counts"
        _write_part(folder / "part", code, counted, len(blocks), graph, board, counts)
        run_part(folder / "part", inputs, emulator=emulator, threads=1)
        for block, count in zip(blocks, np.fromfile(counts, np.uint64), strict=True):
            block.count = int(count)
    return by_kernel(blocks, [kernel.name for kernel in code.kernels])


_DUMP = """
#include <stdio.h>
extern __attribute__((visibility("hidden"))) unsigned long {name}[{count}];
__attribute__((destructor)) static void dump(void) {{
  FILE *file = fopen({path}, "wb");
  fwrite({name}, 8, {count}, file);
  fclose(file);
}}
"""


def _write_part(
    folder: Path, code: Code, text: list[str], count: int, graph: LayerGraph, board: Board,
    counts: Path,
) -> None:  # fmt: skip
    """A part for the runner, from assembly in the place of the library's own object."""
    folder.mkdir()

    def link(output: Path, objects: list[Path]) -> None:
        work = objects[0].parent
        (work / "lib0.s").write_text("\n".join(text), "utf-8")
        dump = _DUMP.format(name=COUNTERS, count=count, path=json.dumps(str(counts)))
        (work / "dump.c").write_text(dump, "utf-8")
        cpu = f"-mcpu={board.processor.cpu.replace('-', '_')}"
        for source in ("lib0.s", "dump.c"):
            zig("cc", "-target", zig_target(board), cpu, "-fPIC", "-c", source, cwd=work)
        others = [path for path in objects if path.name != "lib0.o"]
        link_model(board, output, [work / "lib0.o", work / "dump.o", *others])

    adapter.export(code.library, folder / _MODEL, link)
    if code.weights.bytes:
        code.weights.write(folder / _WEIGHTS)
    install_runtime(board, folder)
    built = Built(
        _MODEL, "native", libraries=(LIBRARY,), runner=RUNNER, kernels=code.kernels,
        activation_bytes=code.activation_bytes, weights=_WEIGHTS if code.weights.bytes else "",
        file_bytes=code.weights.bytes, packed_bytes=code.packed_bytes,
    )  # fmt: skip
    describe_part(built, graph, board, folder)
