# SPDX-License-Identifier: Apache-2.0
"""Every example runs as it is, and so does every snippet of the README."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from splitc import zoo
from splitc.cli import app
from tests.docs.blocks import Page, blocks, commands
from tests.docs.fixtures import DATA, NET
from tests.helpers import ROOT, needs_ray, save

ARGUMENTS = {
    "compile_resnet50.py": ["squeezenet", "."],
    "lossy_wifi.py": [".", "1", "512"],
    "falling_link.py": [".", "1.5", "512"],
}
NEEDS = {"ray_serve_tail.py": needs_ray}
EXAMPLES = [
    pytest.param(path, id=path.name, marks=NEEDS.get(path.name, ()))
    for path in sorted((ROOT / "examples").glob("*.py"))
]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = blocks(README)


def run(command: list[str], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_runs(path: Path, tmp_path: Path) -> None:
    assert run([sys.executable, str(path), *ARGUMENTS.get(path.name, [])], tmp_path)


def test_the_custom_pass_marks_the_stem() -> None:
    out = run([sys.executable, str(ROOT / "examples" / "custom_pass.py")], ROOT)
    assert "%a = conv(%x) {block=0}" in out
    assert "%y = relu(%a) {block=1}" in out
    assert "changed=True" in out


@pytest.fixture
def readme_page(small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """The README in a folder with its files: small networks under the same names, made-up data."""
    shutil.copyfile(small_onnx, tmp_path / "resnet50.onnx")
    np.savez(tmp_path / "samples.npz", x=np.random.default_rng(0).random((2, 3, 12, 12), "f4"))
    (tmp_path / "net.py").write_text(NET, "utf-8")
    (tmp_path / "data.py").write_text(DATA, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return Page(tmp_path)


def test_what_the_readme_shows_runs_in_order(readme_page: Page) -> None:
    ran = [one for one in BLOCKS[1:] if one.language in ("sh", "python")]
    assert any("splitc compile" in one.text for one in ran)
    assert any(one.language == "python" for one in ran)
    for one in ran:
        readme_page.run(one)


def test_the_readme_opens_with_a_sentence_and_two_commands() -> None:
    lines = [line for line in README.splitlines() if line.strip()]
    assert lines[0] == "# splitc"
    assert lines[1].endswith(".")
    assert commands(BLOCKS[0].text) == ["make demo", "make test"]
    assert len(README.splitlines()) < 150


def test_the_readmes_picture_is_small_and_loads_nothing() -> None:
    picture = README.partition("![")[2].partition("](")[2].partition(")")[0]
    text = (ROOT / picture).read_text("utf-8")
    assert len(text) < 150_000
    assert "splitc compile resnet50.onnx --cut auto --target rpi4" in text.replace("&#160;", " ")
    assert not re.findall(r"url\((?!#)|href=|<script", text)


def test_the_makefile_has_what_the_readme_names() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in ("demo:", "test:"):
        assert f"\n{target}" in makefile
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "make test" in ci


def test_the_demo_ends_with_a_split_that_pays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = (ROOT / "Makefile").read_text("utf-8").partition("\ndemo:")[2].partition("\n\n")[0]
    (asked,) = re.findall(r"/splitc (cuts .*)", demo.replace("\\\n", ""))
    monkeypatch.chdir(tmp_path)
    save(zoo.build("alexnet"), tmp_path / "alexnet.onnx")
    assert app.run([*shlex.split(asked), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["split_pays"]
    assert told["baseline"] in ("device", "server_jpeg")
