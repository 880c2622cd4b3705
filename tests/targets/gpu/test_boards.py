# SPDX-License-Identifier: Apache-2.0
"""Boards with NVIDIA's GPUs: their figures say where they come from, and give the data sheets'."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import splitc_targets
from splitc.cost.board import Gpu, Precision, load_board

BOARDS = Path(splitc_targets.__file__).parent / "boards"
NAMES = sorted(
    path.stem for path in BOARDS.glob("*.toml") if re.search('(?m)^arch = "sm_', path.read_text())
)

PEAKS: dict[str, dict[Precision, float]] = {
    "cuda-sm75": {"float32": 8.1, "float16": 65},
    "cuda-sm80": {"float32": 19.5, "tf32": 156, "float16": 312},
    "cuda-sm86": {"float32": 31.2, "tf32": 62.5, "float16": 125},
    "cuda-sm89": {"float32": 30.3, "tf32": 120 / 2, "float16": 242 / 2},
    "cuda-sm90": {"float32": 67, "tf32": 0.629 * 989 / 2, "float16": 0.629 * 1979 / 2},
    "jetson-orin": {"float32": 5.3, "tf32": 170 / 8, "float16": 170 / 4},
}
"""TFLOPS of the data sheets, halved where they are with sparsity; the Jetson's follow from its
int8. Of Hopper's tensor cores, what mma.sync reaches of it (arXiv:2501.12084, section 6.2)."""


def _figures(text: str) -> Iterator[tuple[str, bool]]:
    """Each figure of a board file, and whether a comment stands right above it or its table."""
    told = table = False
    for line in text.splitlines():
        if line.startswith("["):
            table = told
        elif re.match(r"\w+ = [\d.]", line):
            yield line, told or table
        told = line.startswith("#")


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_says_where_it_comes_from(name: str) -> None:
    text = (BOARDS / f"{name}.toml").read_text("utf-8")
    figures = list(_figures(text))
    assert len(figures) > 15
    assert [line for line, told in figures if not told] == []
    assert '"' in text.split("name =")[0], "the documents are named at its head"


def test_a_figure_without_a_word_above_it_is_found() -> None:
    text = "# A data sheet.\ncores = 4\nclock_hz = 1.0e9\n\n[unit]\nmemory_bytes = 8\n"
    assert [line for line, told in _figures(text) if not told] == [
        "clock_hz = 1.0e9", "memory_bytes = 8",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_rates_are_what_is_published(name: str) -> None:
    board = load_board(name)
    assert isinstance(board.unit, Gpu)
    assert board.unit.tensor.keys() == PEAKS[name].keys() - {"float32"}
    for precision, peak in PEAKS[name].items():
        rate = board.peak_flops
        if precision != "float32":
            rate = 2 * board.unit.tensor[precision] * board.cores * board.clock_hz
        assert rate / 1e12 == pytest.approx(peak, rel=0.01)
