# SPDX-License-Identifier: Apache-2.0
"""The theory of SI-NR comes out as published, and the channel modules keep to it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch")

from tests.helpers import ROOT


def test_published_figures_and_simulated_packets_agree_with_the_theory(tmp_path: Path) -> None:
    written = tmp_path / "theory.json"
    command = [sys.executable, "benchmarks/si_nr_theory.py", "--quick", "--block", "2"]
    done = subprocess.run(
        [*command, "--json", str(written)],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert "resend_p99_ms             80.44      80.44\n" in done.stdout
    assert "differs" not in done.stdout
    figures = json.loads(written.read_text("utf-8"))
    assert figures["latency_ms"]["0.2"] == sorted(figures["latency_ms"]["0.2"])
    for rate, row in figures["through"].items():
        sd = math.sqrt(66 * float(rate) * (1 - float(rate)))
        assert abs(row["mean"] - 66 * (1 - float(rate))) < 5 * sd / math.sqrt(500)
        assert row["chi2"] < row["dof"] + 5 * math.sqrt(2 * row["dof"])
