# SPDX-License-Identifier: Apache-2.0
"""Board files predict published times within the bars; predictions only, nothing is timed."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from mobile_nets import mobile_net

from nets import macs

ROOT = Path(__file__).parents[2]


def test_fitted_boards_and_the_held_out_raspberry_pi_3_keep_within_the_bars(
    tmp_path: Path,
) -> None:
    written = tmp_path / "models.json"
    script = "benchmarks/board_models.py"
    command = [sys.executable, script, "--quick", "--json", str(written)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=1200)
    columns = json.loads(written.read_text("utf-8"))["columns"]
    ten = [column for column in columns if len(column["rows"]) > 8]
    kept = {column["board"]: column for column in ten if "ncnn" in column["source"]}
    assert set(kept) == {"rpi4", "rpi-zero2w", "jetson-nano", "rpi3"}
    assert all(column["within_bars"] for column in kept.values())
    assert kept["rpi4"]["rows"][0]["ratio"] == pytest.approx(1, abs=0.35)
    (mobile,) = (column for column in columns if column["families"])
    assert mobile["role"] == "held out"
    assert len(mobile["rows"]) == 49
    assert set(mobile["families"]) == {
        "MobileNetV1", "MobileNetV2", "MobileNetV3", "EfficientNet-Lite",
    }  # fmt: skip
    assert all(found["mean_error"] <= 0.2 for found in mobile["families"].values())


def test_the_mobile_networks_have_the_papers_multiply_adds_and_weights() -> None:
    """In millions, as the papers have them, and TensorFlow's tables of the other forms."""
    papers = {
        "v1-1.0-224": (569, 4.24), "v1-0.5-160": (76, 1.34), "v1-0.25-128": (14, 0.47),
        "v2-1.0-224": (300, 3.47), "v2-1.4-224": (582, 6.06), "v2-0.75-160": (107, 2.61),
        "v3-large-1.0": (217, 5.4), "v3-small-1.0": (56.5, 2.5),
        "v3-large-minimalistic-1.0": (209, 3.9), "lite0": (407, 4.7), "lite4": (2640, 13.0),
    }  # fmt: skip
    for name, (millions, weights) in papers.items():
        graph = mobile_net(name)
        assert macs(graph) / 1e6 == pytest.approx(millions, rel=0.07), name
        held = sum(layer.param_bytes for layer in graph.layers) / 4e6
        assert held == pytest.approx(weights, rel=0.03), name


@pytest.mark.slow
def test_host_times_are_told_by_network_and_by_kind_and_figures_fitted(tmp_path: Path) -> None:
    written = tmp_path / "models.json"
    command = [sys.executable, "benchmarks/board_models.py", "--host", "--fit", "--quick"]
    subprocess.run(
        [*command, "--json", str(written)], cwd=ROOT, check=True, capture_output=True, timeout=1200
    )
    host = json.loads(written.read_text("utf-8"))["host"]
    assert [row["network"] for row in host["rows"]] == ["squeezenet", "shufflenet"]
    assert {"conv1x1", "conv3x3", "depthwise", "pool"} <= {
        kind for kind, row in host["kinds"].items() if row["measured_ms"] > 0
    }
    assert 0 <= host["fitted"]["mean_error"] <= host["fitted"]["worst_error"] < math.inf
    assert host["fitted"]["figures"]["name"] == "host"
