# SPDX-License-Identifier: Apache-2.0
"""Environments of their own with splitc's wheel in them, by uv: nothing of this checkout."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT, save, small_network


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder runs by `make test-packaging`: installing takes minutes."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.packaging)


def done(*command: str | Path, cwd: Path, **variables: str) -> str:
    """What a command prints; fails the test with its last words where it fails.

    Nothing of this checkout is on its path.
    """
    environment = {n: v for n, v in os.environ.items() if n not in ("PYTHONPATH", "VIRTUAL_ENV")}
    ran = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False,
        env=environment | variables, timeout=280,
    )  # fmt: skip
    assert ran.returncode == 0, f"{command}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}"
    return ran.stdout


def uv(*arguments: str | Path, cwd: Path, **variables: str) -> str:
    """What a call of uv prints."""
    if importlib.util.find_spec("uv") is None:
        pytest.skip("uv is not installed")
    return done(sys.executable, "-m", "uv", *arguments, cwd=cwd, **variables)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--out-dir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    """The wheel, which uv made of the sdist's files."""
    return next(built.glob("*.whl"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder with a small network in it."""
    save(small_network(), tmp_path / "small.onnx")
    return tmp_path
