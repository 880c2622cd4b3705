# SPDX-License-Identifier: Apache-2.0
"""Under CI a test that is skipped for want of something fails the run; elsewhere it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

SUITE = """
import pytest

def test_passes():
    pass

def test_is_skipped():
    pytest.skip({reason!r})
"""


def run(folder: Path, reason: str, ci: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text("from tests.conftest import pytest_configure\n", "utf-8")
    (folder / "test_one.py").write_text(SUITE.format(reason=reason), "utf-8")
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    paths = [str(ROOT), *filter(None, [env.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, str(folder)],
        capture_output=True, text=True, check=False, cwd=folder,
        env={**env, "CI": ci, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "ci", "status"),
    [
        ("qemu-aarch64 is not installed", "true", 1),
        ("qemu-aarch64 is not installed", "", 0),
        ("its results are random", "true", 0),
    ],
)
def test_a_skip_for_want_of_something_fails_under_ci_alone(
    tmp_path: Path, reason: str, ci: str, status: int
) -> None:
    done = run(tmp_path, reason, ci)
    assert done.returncode == status, done.stdout + done.stderr
    assert ("SKIPPED WITHOUT NEED" in done.stdout) == bool(status)


def test_the_workers_of_a_run_report_to_it(tmp_path: Path) -> None:
    assert run(tmp_path, "qemu-aarch64 is not installed", "true", "-n", "2").returncode == 1
