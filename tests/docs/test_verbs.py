# SPDX-License-Identifier: Apache-2.0
"""Each verb has a page; what it shows runs, from the shell and from Python."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from splitc.bundle.bundle import Bundle
from splitc.cli.app import VERBS
from tests.docs.blocks import Page, blocks
from tests.docs.fixtures import DATA, NET
from tests.helpers import ROOT

FOLDER = ROOT / "docs" / "verbs"


def test_every_verb_has_a_page_and_every_page_a_verb() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == set(VERBS)


def test_the_overview_links_every_verb() -> None:
    overview = (ROOT / "docs" / "verbs.md").read_text("utf-8")
    assert not [verb for verb in VERBS if f"[{verb}](verbs/{verb}.md)" not in overview]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_page_shows_shell_and_python_and_its_options(verb: str) -> None:
    text = (FOLDER / f"{verb}.md").read_text("utf-8")
    assert text.startswith(f"# splitc {verb}\n")
    assert f"splitc {verb}" in text.partition("```")[2]
    assert "```python\n" in text
    assert text.endswith(f"\n<!-- made: options {verb} -->\n")


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_verbs_page_shows_runs(
    verb: str, compiled: Bundle, small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(small_onnx, tmp_path / "resnet50.onnx")
    shutil.copytree(compiled.path, tmp_path / "resnet50.splitc")
    np.savez(tmp_path / "samples.npz", x=np.random.default_rng(0).random((2, 3, 12, 12), "f4"))
    (tmp_path / "net.py").write_text(NET, "utf-8")
    (tmp_path / "data.py").write_text(DATA, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name in ("net", "data"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    page = Page(tmp_path)
    for block in blocks((FOLDER / f"{verb}.md").read_text("utf-8")):
        page.run(block)
