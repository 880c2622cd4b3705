# SPDX-License-Identifier: Apache-2.0
"""Tutorials and how-to pages: every block runs, in order, and prints what the page says."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.docs.blocks import Page, blocks
from tests.docs.fixtures import DATA, NET
from tests.helpers import ROOT

DOCS = ROOT / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
GIVEN = {"codecs.md"}
"""How-to pages that are run too, in a folder with the small network and its data."""


@pytest.mark.parametrize("path", [*TUTORIALS, *(DOCS / name for name in sorted(GIVEN))],
                         ids=lambda path: path.stem)  # fmt: skip
def test_a_page_runs_from_top_to_bottom(
    path: Path, small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(small_onnx, tmp_path / "resnet50.onnx")
    if path.name in GIVEN:
        np.savez(tmp_path / "samples.npz", x=np.random.default_rng(0).random((2, 3, 12, 12), "f4"))
        (tmp_path / "net.py").write_text(NET, "utf-8")
        (tmp_path / "data.py").write_text(DATA, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name in ("net", "data", "fewest"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    page = Page(tmp_path)
    for block in blocks(path.read_text("utf-8")):
        page.run(block)
