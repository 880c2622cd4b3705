# SPDX-License-Identifier: Apache-2.0
"""The benchmarks of compiled code run and say what they promise; no time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run(tmp_path: Path, script: str, *options: str) -> tuple[str, dict[str, Any]]:
    """What a benchmark prints, and its figures."""
    written = tmp_path / "figures.json"
    command = [sys.executable, f"benchmarks/{script}", "--quick", "--json", str(written), *options]
    done = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=1200
    )  # fmt: skip
    assert max(map(len, done.stdout.splitlines())) <= 80
    return done.stdout, json.loads(written.read_text("utf-8"))


@pytest.mark.slow
def test_all_sides_of_a_network_agree_and_the_bar_is_judged(tmp_path: Path) -> None:
    said, figures = run(tmp_path, "cpu_vs_peers.py", "--networks", "squeezenet", "--threads", "2")
    (row,) = figures["rows"]
    assert row["failure"] == ""
    assert row["relative_error"] < 1e-3
    assert all(row["ms"][side] > 0 for side in ("splitc", "onnxruntime"))
    assert row["ratio"] >= row["ratios"]["onnxruntime"] > 0
    assert "bar: mean <= 0.75, none > 1.0" in said


@pytest.mark.slow
def test_a_profile_names_the_functions_that_take_time(tmp_path: Path) -> None:
    _, figures = run(tmp_path, "cpu_vs_peers.py", "--profile", "squeezenet", "--threads", "1")
    (profile,) = figures["profiles"]
    times = [function["ms"] for function in profile["functions"]]
    assert len(times) > 10
    assert times == sorted(times, reverse=True)


@pytest.mark.slow
def test_every_distinct_operator_of_a_network_is_measured(tmp_path: Path) -> None:
    _, figures = run(tmp_path, "kernels.py", "--networks", "squeezenet", "--limit", "5")
    rows = figures["threads"]["2"]["rows"]
    assert sum(row["count"] for row in rows) == 26
    assert not [row for row in rows if row["failure"] or row["ratio"] <= 0]


@pytest.mark.slow
def test_compiling_for_both_boards_is_timed(tmp_path: Path) -> None:
    _, figures = run(tmp_path, "compile_time.py")
    assert [row["board"] for row in figures["rows"]] == ["host", "rpi4"]
    assert all(row["total_s"] > 0 < row["peak_mb"] for row in figures["rows"])
