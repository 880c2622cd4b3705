# SPDX-License-Identifier: Apache-2.0
"""A folder with two networks and a file that says to build each for two boards."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from splitc.builds.run import Builds, build_all
from tests.helpers import save, small_network

FILE = """
[[bundle]]
model = ["a.onnx", "b.onnx"]
target = ["rpi4", "rpi5"]
emit = "onnx"
output = "out/{model}-{target}.splitc"

[[bundle]]
model = "a.onnx"
target = "mine.toml"
emit = "onnx"
output = "out/{model}-{target}.splitc"
"""


def _fill(folder: Path) -> Path:
    folder.mkdir()
    save(small_network(), folder / "a.onnx")
    save(small_network(1), folder / "b.onnx")
    (folder / "mine.toml").write_text('name = "mine"\nbase = "rpi4"\n')
    (folder / "splitc.toml").write_text(FILE)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder."""
    return _fill(tmp_path / "home")


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Builds]:
    """The folder with its bundles and a cache that has them, not to be written to."""
    folder = _fill(tmp_path_factory.mktemp("builds") / "home")
    return folder, build_all(folder / "splitc.toml", cache=folder / "cache", jobs=2)


@pytest.fixture
def built(built_once: tuple[Path, Builds], tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(built_once[0], tmp_path / "home", symlinks=True))
