# SPDX-License-Identifier: Apache-2.0
"""AArch64 assembly as basic blocks, and the same code with a counter at the head of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

COUNTERS = "splitc_counts"
"""The symbol of the counters: 64 bits each, by the blocks' numbers."""
_FMA = re.compile(r"\t(fml[as]\tv\d+\.(4s|8h)|[su]dot\tv\d+\.4s)")
_BRANCH = re.compile(r"\t(b|b\.\w+|br|ret|cbn?z|tbn?z)(\t|$)")
_STACK = re.compile(r"\t(ldr|str|ldur|stur|ldp|stp|ld1|st1)\t.*\b[qv]\d+.*\[sp\b")
_LOOP = ".L__tvm_parallel_lambda"
"""How the functions begin that are one thread's share of a loop over the cores."""


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
    lines: list[str] = field(default_factory=list[str])
    count: int = 0
    cycles: float = 0.0

    @property
    def shared(self) -> bool:
        """Whether it is in a loop that all cores take their shares of."""
        return self.function.startswith(_LOOP)

    @property
    def fmas(self) -> int:
        """Multiply-adds of a vector: of four floats, eight of float16 or sixteen bytes."""
        return sum(_FMA.match(line) is not None for line in self.lines)

    @property
    def spills(self) -> int:
        """Vectors that are written to the stack or read from it."""
        return sum(_STACK.match(line) is not None for line in self.lines)


def with_counters(lines: Iterable[str]) -> tuple[list[Block], list[str]]:
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
        f"\t.hidden\t{COUNTERS}",
        f"\t.comm\t{COUNTERS},{8 * len(blocks)},8",
    ]


def _counter(offset: int) -> list[str]:
    """Add one to a counter; no register and no flag changes."""
    return [
        "\tstp\tx16, x17, [sp, #-16]!",
        f"\tadrp\tx16, {COUNTERS}+{offset}",
        f"\tadd\tx16, x16, :lo12:{COUNTERS}+{offset}",
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


def by_kernel(blocks: Sequence[Block], kernels: Sequence[str]) -> Mapping[str, list[Block]]:
    """The blocks that ran of each kernel, by its name.

    They are its function's, its caller's, and its loops' on other cores.
    """
    owner: dict[str, str] = {}
    for kernel in kernels:
        owner |= {f"{kernel}_compute_": kernel, f"__tvm_ffi_{kernel}": kernel}
    for block in blocks:
        for line in block.lines:
            named = re.search(rf", ({re.escape(_LOOP)}[.\d]*)$", line)
            if named and block.function in owner:
                owner[named[1]] = owner[block.function]
    found: dict[str, list[Block]] = {kernel: [] for kernel in kernels}
    for block in blocks:
        if block.count and block.function in owner:
            found[owner[block.function]].append(block)
    return found
