# SPDX-License-Identifier: Apache-2.0
"""What is counted of bytes on a board is told apart, and calibrated; nothing is emulated."""

from __future__ import annotations

from pathlib import Path

import pytest
from arm_bytes import MEASURED_MS, Side, by_kind, operators, print_calibrated
from arm_root import make_root
from onnx import helper

from splitc.cost.board import load_board
from splitc_targets.emitted.blocks import Block

RPI5 = load_board("rpi5")


def block(cycles: float, count: int, *names: str) -> Block:
    return Block(0, "", [f"\t{name}\tv0.4s, v1.4s" for name in names], count, cycles)


def test_blocks_are_told_by_what_they_multiply_and_convert() -> None:
    found = by_kind([
        block(2.0, 3, "sdot", "scvtf", "fcvtns"), block(4.0, 5, "smull", "scvtf", "fcvtns"),
        block(1.0, 7, "scvtf", "fmul", "fcvtns"), block(1.0, 1, "fcvtns"), block(1.0, 1, "smlal"),
    ])  # fmt: skip
    assert found == {
        "depthwise, with its ends": 21.0, "ends of products": 7.0, "products": 6.0, "the rest": 1.0,
    }  # fmt: skip
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_operators_that_only_move_are_no_calls() -> None:
    nodes = [helper.make_node(kind, ["x"], ["y"]) for kind in ("QLinearConv", "Reshape", "Relu")]
    graph = helper.make_graph(nodes, "g", [], [])
    assert operators(helper.make_model(graph)) == 2


def test_a_side_as_quick_as_the_measured_one_takes_its_time() -> None:
    """And one of half its cycles half of it, where calls cost nothing."""
    other = Side("XNNPACK", 100, 66, 24e6)
    name, measured = next(iter(MEASURED_MS.items()))
    same = print_calibrated(name, other, other, RPI5)
    for each in same.values():
        assert each["calibrated_ms"] == pytest.approx(measured)
    half = print_calibrated(name, Side("splitc", 100, 66, 12e6), other, RPI5)
    assert half["0 us a call"]["calibrated_ms"] == pytest.approx(measured / 2)
    assert half["20 us a call"]["calibrated_ms"] > measured / 2
    assert other.ms(RPI5, 20e-6) == pytest.approx(24e6 / 4 / 2.4e9 * 1e3 + 66 * 0.02)


def test_a_whole_root_is_given_the_cores_of_the_board_that_is_asked_for(
    tmp_path: Path,
) -> None:
    cpuinfo = tmp_path / "root" / "proc" / "cpuinfo"
    cpuinfo.parent.mkdir(parents=True)
    cpuinfo.touch()
    for board, part, dot in (("rpi5", "0xd0b", True), ("rpi4", "0xd08", False)):
        assert make_root(tmp_path, board) == tmp_path / "root"
        written = cpuinfo.read_text("utf-8")
        assert written.count(f"CPU part\t: {part}") == 4
        assert ("asimddp" in written) is dot
