# SPDX-License-Identifier: Apache-2.0
"""Every example runs as it is, and so does every snippet of the README."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import splitc
from splitc import zoo
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
BLOCKS: list[tuple[str, str]] = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


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


NET = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())
        self.layer2 = nn.Conv2d(8, 16, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(16, 2)

def net():
    torch.manual_seed(0)
    return Net(), torch.zeros(1, 1, 8, 8)
"""
DATA = """
import torch

def loaders():
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(32) % 2
    x = torch.randn(32, 1, 8, 8, generator=draw) + y.view(-1, 1, 1, 1)
    batches = list(zip(x.split(8), y.split(8)))
    return batches, batches
"""


@pytest.fixture(scope="module")
def readme_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's files: small networks under the same names, made-up data."""
    folder = tmp_path_factory.mktemp("readme")
    save(zoo.build("squeezenet"), folder / "resnet50.onnx")
    given = splitc.load(folder / "resnet50.onnx").graph.inputs[0]
    samples: dict[str, Any] = {
        given.name: np.random.default_rng(0).random(given.static_shape, np.float32)
    }
    np.savez(folder / "samples.npz", **samples)
    (folder / "net.py").write_text(NET, "utf-8")
    (folder / "data.py").write_text(DATA, "utf-8")
    return folder


def commands() -> list[str]:
    lines = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]
    return [line.partition("#")[0].strip() for line in lines if line.startswith("splitc ")]


def test_the_readmes_commands_run_in_order(readme_folder: Path) -> None:
    found = commands()
    assert any(line.startswith("splitc compile") for line in found)
    for line in found:
        words = shlex.split(line)[1:]
        main = "from splitc.cli import main; main()"
        run([sys.executable, "-c", main, *words], readme_folder)


def test_the_readmes_python_runs(readme_folder: Path) -> None:
    found = [text for language, text in BLOCKS if language == "python"]
    assert found
    for text in found:
        run([sys.executable, "-c", text], readme_folder)


def test_the_readme_opens_with_a_sentence_and_two_commands() -> None:
    lines = [line for line in README.splitlines() if line.strip()]
    assert lines[0] == "# splitc"
    assert lines[1].endswith(".")
    first_block = BLOCKS[0][1]
    assert [line.split("#")[0].strip() for line in first_block.strip().splitlines()] == [
        "make demo",
        "make test",
    ]


def test_the_makefile_has_what_the_readme_names() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in ("demo:", "test:"):
        assert f"\n{target}" in makefile
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "make test" in ci
