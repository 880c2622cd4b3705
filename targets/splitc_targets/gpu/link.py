# SPDX-License-Identifier: Apache-2.0
"""A program for a device as a model: its launches as data, its code, and what runs both."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from splitc.cost.board import Board
from splitc.scratch import owned
from splitc_targets.gpu.program import Launch, Memory
from splitc_targets.link.toolchain import link_model, object_of

_SOURCES = Path(__file__).parent / "host"
_MEMORY: dict[Memory, str] = {
    "input": "kInput", "output": "kOutput", "weights": "kWeights", "arena": "kArena",
}  # fmt: skip


@dataclass(frozen=True)
class Linked:
    """What goes into a model.

    Args:
        api: Whose driver runs it.
        arch: What its code is for, as "sm_90"; "" where the driver compiles it.
        code: For the driver.
        launches: In their order.
        weights_bytes, arena_bytes: Of the device's memory.
        input_bytes, output_bytes: Of each tensor that goes in and comes out.
    """

    api: str
    arch: str
    code: bytes
    launches: Sequence[Launch]
    weights_bytes: int
    arena_bytes: int
    input_bytes: Sequence[int]
    output_bytes: Sequence[int]


def link(board: Board, output: Path, program: Linked) -> None:
    """Write the model.

    Raises:
        ToolchainError: zig fails.
    """
    with owned(output.parent) as work:
        (work / "code.bin").write_bytes(program.code)
        (work / "program.c").write_text(_source(program), "utf-8")
        for name in ("program.h", "host.c", f"driver_{program.api}.c"):
            shutil.copyfile(_SOURCES / name, work / name)
        names = ("program", "host", f"driver_{program.api}")
        objects = [object_of(board, work / f"{name}.c") for name in names]
        link_model(board, output, objects)


def _source(program: Linked) -> str:
    """The program as C."""
    lines = [
        '#include "program.h"', "",
        '__asm__(".section .rodata\\n.balign 16\\n.global splitc_code\\n"',
        '        ".hidden splitc_code\\nsplitc_code:\\n.incbin \\"code.bin\\"\\n.byte 0\\n"',
        '        ".previous\\n");',
        'extern const char splitc_code[] __attribute__((visibility("hidden")));', "",
    ]  # fmt: skip
    for number, launch in enumerate(program.launches):
        places = ", ".join(
            f"{{{_MEMORY[each.memory]}, {each.number}, {each.offset}u}}" for each in launch.places
        )
        lines.append(f"static const SplitcPlace places_{number}[] = {{{places}}};")
    lines.append("static const SplitcLaunch launches[] = {")
    for number, launch in enumerate(program.launches):
        numbers = (", ".join(map(str, each)) for each in (launch.blocks, launch.threads))
        sizes = ", ".join(f"{{{each}}}" for each in numbers)
        lines.append(f'    {{"{launch.symbol}", {sizes}, {len(launch.places)}, places_{number}}},')
    lines.append("};")
    for name, sizes in (("input", program.input_bytes), ("output", program.output_bytes)):
        numbers = ", ".join(f"{size}u" for size in sizes) or "0"
        lines.append(f"static const uint64_t {name}_bytes[] = {{{numbers}}};")
    lines += [
        "SplitcProgram splitc_program = {", f'    "{program.arch}", splitc_code,',
        f"    {len(program.code)}u, {program.weights_bytes}u, {program.arena_bytes}u,",
        f"    {len(program.input_bytes)}, input_bytes, {len(program.output_bytes)}, output_bytes,",
        f"    {len(program.launches)}, launches,", "};", "",
    ]  # fmt: skip
    return "\n".join(lines)
