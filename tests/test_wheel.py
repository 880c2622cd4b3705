# SPDX-License-Identifier: Apache-2.0
"""The wheel: built, installed in an empty virtual environment, used."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers import ROOT, save, small_network

REACHES_INDEX = "the package index cannot be reached"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    if done.returncode != 0 and "Could not find a version" in done.stdout + done.stderr:
        pytest.skip(REACHES_INDEX)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_three_packages_and_their_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for wanted in (
        "splitc/py.typed", "splitc/manifest.schema.json", "splitc/cli/compile.py",
        "splitc_passes/cutters/min_cut.py", "splitc_targets/boards/rpi4.toml",
        "splitc_targets/runner/main.cc",
    ):  # fmt: skip
        assert wanted in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "splitc", "splitc_passes", "splitc_targets",
    }  # fmt: skip
    assert wheel.stat().st_size < 1_200_000


@pytest.mark.slow
def test_an_empty_environment_can_install_and_use_the_wheel(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    install = ("-m", "pip", "install", "--quiet", "-c", constraints, wheel)
    done = run(python, *install, cwd=tmp_path)
    if done.returncode != 0 and "Could not find a version" in done.stderr:
        pytest.skip(REACHES_INDEX)
    assert done.returncode == 0, done.stderr[-2000:]
    save(small_network(), tmp_path / "small.onnx")
    program = tmp_path / "venv" / "bin" / "splitc"
    compiled = run(program, "compile", "small.onnx", "--target", "rpi4", cwd=tmp_path)
    assert compiled.returncode == 0, compiled.stderr
    verified = run(program, "verify", "small.splitc", cwd=tmp_path)
    assert "verified: worst" in verified.stdout, verified.stderr
    doctor = run(program, "doctor", cwd=tmp_path)
    assert "ready to compile" in doctor.stdout
    listed = run(python, "-m", "pip", "list", cwd=tmp_path).stdout
    assert "torch" not in listed
