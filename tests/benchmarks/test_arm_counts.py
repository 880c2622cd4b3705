# SPDX-License-Identifier: Apache-2.0
"""Counted blocks are read, told apart and priced; nothing is emulated."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path

import pytest
from arm_caches import Traffic
from arm_counts import Ran, build_plugin, disassembled, instructions, priced, read_counts
from published_times import four_threads_ms, one_thread_ms

from splitc.cost.board import load_board
from splitc.errors import ToolchainError
from splitc_targets.emitted.core_model import CoreModel

RPI4 = load_board("rpi4")
MULTIPLY_ADD = [0x4E21CC00 | register for register in range(8)]
"""fmla vN.4s, v0.4s, v1.4s, as the Arm architecture reference manual encodes it."""
RETURN = [0xD65F03C0]


def packed(words: list[int]) -> bytes:
    return struct.pack(f"<{len(words)}I", *words)


def record(address: int, count: int, words: list[int]) -> bytes:
    return struct.pack("<QQQ", address, count, len(words)) + packed(words)


@pytest.fixture(scope="module")
def core() -> CoreModel:
    try:
        return CoreModel.of(RPI4.processor)
    except ToolchainError as error:
        pytest.skip(str(error))


def test_blocks_of_the_same_instructions_are_counted_together() -> None:
    data = record(64, 3, MULTIPLY_ADD) + record(4096, 2, RETURN) + record(8192, 4, MULTIPLY_ADD)
    found = read_counts(data)
    assert found == {packed(MULTIPLY_ADD): 7, packed(RETURN): 2}
    assert instructions(found) == 7 * 8 + 2


@pytest.mark.parametrize("missing", [1, 4, 40])
def test_counts_that_break_off_are_refused(missing: int) -> None:
    data = record(64, 3, RETURN) + record(64, 3, MULTIPLY_ADD)
    with pytest.raises(ToolchainError, match="break off"):
        read_counts(data[:-missing])


def test_what_a_second_run_adds_leaves_out_what_ran_once() -> None:
    load, work, seldom = packed(RETURN), packed(MULTIPLY_ADD), packed(RETURN * 2)
    one = Ran(Counter({load: 9, work: 5, seldom: 2}), (Traffic(1, 2, 3, 4),))
    two = Ran(Counter({load: 9, work: 11, seldom: 1}), (Traffic(5, 5, 5, 5),))
    assert two.beyond(one) == Ran(Counter({work: 6}), (Traffic(4, 3, 2, 1),))


def test_code_is_read_as_text_block_by_block(core: CoreModel) -> None:
    found = disassembled(
        [packed(RETURN), packed(MULTIPLY_ADD[:2])], core.program.replace("llvm-mca", "llvm-mc")
    )
    assert found == [["\tret"], [f"\tfmla\tv{k}.4s, v0.4s, v1.4s" for k in range(2)]]


def test_what_is_no_instruction_is_refused(core: CoreModel) -> None:
    with pytest.raises(ToolchainError, match="cannot read the code"):
        disassembled([packed([0xFFFFFFFF])], core.program.replace("llvm-mca", "llvm-mc"))


def test_a_block_of_multiply_adds_takes_no_fewer_cycles_than_the_port_starts_them_in(
    core: CoreModel,
) -> None:
    words = [*MULTIPLY_ADD[2:]] * 4  # none writes what it or another multiplies
    (block,) = priced({packed(words): 1000, packed(RETURN): 0}, core)
    assert (block.count, block.fmas) == (1000, len(words))
    assert block.cycles >= len(words) * core.fma_cycles() * 0.99


def test_a_division_takes_what_the_divider_does_and_not_what_an_older_core_s_does(
    core: CoreModel,
) -> None:
    divide = [0x6E22FC20 | register for register in (3, 4, 5, 6)]  # fdiv vN.4s, v1.4s, v2.4s
    (block,) = priced({packed(divide): 1000}, core)
    assert block.cycles == pytest.approx(4 * 8.0)


def test_published_times_are_told_by_board_and_runtime() -> None:
    assert one_thread_ms("rpi4", "ncnn")["resnet50"] == 534.1
    assert four_threads_ms("rpi4", "ncnn")["resnet50"] == 262.8
    assert four_threads_ms("rpi5", "ncnn") == {}


def test_the_plug_in_is_built_as_qemu_loads_it(tmp_path: Path) -> None:
    code = build_plugin(tmp_path).read_bytes()
    assert code.startswith(b"\x7fELF")
    assert b"qemu_plugin_install" in code
