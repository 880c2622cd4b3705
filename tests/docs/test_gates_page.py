# SPDX-License-Identifier: Apache-2.0
"""The page of gates: its table has every figure, what it shows runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from made import fill
from places import DOCS
from splitc.bundle.bundle import Bundle
from splitc.figures.table import FIGURES
from tests.docs.blocks import Page, blocks

TEXT = (DOCS / "gates.md").read_text("utf-8")


def test_its_table_has_every_figure_with_unit_way_and_source() -> None:
    rows = [row.split(" | ") for row in fill(TEXT).splitlines() if row.startswith("| `")]
    assert [row[0].strip("| `") for row in rows] == list(FIGURES)
    for row in rows:
        one = FIGURES[row[0].strip("| `")]
        assert row[1:4] == [one.unit, one.worse, ", ".join(one.sources)]


def test_what_the_page_shows_runs(
    compiled: Bundle, small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(small_onnx, tmp_path / "resnet50.onnx")
    shutil.copytree(compiled.path, tmp_path / "resnet50.splitc")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    page = Page(tmp_path)
    for block in blocks(TEXT):
        page.run(block)
