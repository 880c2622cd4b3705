# SPDX-License-Identifier: Apache-2.0
"""What is in the wheel; tests/packaging installs and uses it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers import ROOT

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
    # Sources and tables of text; networks, pictures or objects would be seen here.
    assert wheel.stat().st_size < 2_000_000
