# SPDX-License-Identifier: Apache-2.0
"""Board files predict published times within the bars; predictions only, nothing is timed."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_fitted_boards_and_the_held_out_raspberry_pi_3_keep_within_the_bars(
    tmp_path: Path,
) -> None:
    written = tmp_path / "models.json"
    script = "benchmarks/board_models.py"
    command = [sys.executable, script, "--quick", "--json", str(written)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    columns = json.loads(written.read_text("utf-8"))["columns"]
    kept = {column["board"]: column for column in columns if "ncnn" in column["source"]}
    assert set(kept) == {"rpi4", "rpi-zero2w", "jetson-nano", "rpi3"}
    assert all(column["within_bars"] for column in kept.values())
    assert kept["rpi4"]["rows"][0]["ratio"] == pytest.approx(1, abs=0.35)


@pytest.mark.slow
def test_host_times_are_told_by_network_and_by_kind_and_figures_fitted(tmp_path: Path) -> None:
    written = tmp_path / "models.json"
    command = [sys.executable, "benchmarks/board_models.py", "--host", "--fit", "--quick"]
    subprocess.run(
        [*command, "--json", str(written)], cwd=ROOT, check=True, capture_output=True, timeout=300
    )
    host = json.loads(written.read_text("utf-8"))["host"]
    assert [row["network"] for row in host["rows"]] == ["squeezenet", "shufflenet"]
    assert {"conv1x1", "conv3x3", "depthwise", "pool"} <= {
        kind for kind, row in host["kinds"].items() if row["measured_ms"] > 0
    }
    assert 0 <= host["fitted"]["mean_error"] <= host["fitted"]["worst_error"] < math.inf
    assert host["fitted"]["figures"]["name"] == "host"
