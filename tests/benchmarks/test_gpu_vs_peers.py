# SPDX-License-Identifier: Apache-2.0
"""The comparison on a GPU runs where there is none as a rehearsal, and refuses to pass for more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common import checkout_env
from splitc.runtime.devices import why_no_device
from tests.helpers import ROOT

HAS_GPU = Path("/dev/nvidia0").exists()


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "benchmarks/gpu_vs_peers.py", *arguments], capture_output=True, text=True,
        check=False, cwd=ROOT, env=checkout_env(ROOT),
    )  # fmt: skip


@pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU")
def test_without_a_gpu_nothing_is_measured() -> None:
    done = _run("--networks", "tiny")
    assert done.returncode == 8
    assert done.stdout == ""
    assert done.stderr.startswith("gpu_vs_peers: nothing is measured: there is no CUDA driver here")


@pytest.mark.skipif(bool(why_no_device("opencl", "")), reason="there is no OpenCL here")
def test_a_dry_run_compares_all_sides_and_says_that_its_times_are_no_gpus(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = _run(
        "--dry-run", "--batch", "1,2", "--peers", "torch,onnxruntime", "--precision",
        "float32,float16", "--json", str(figures),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no time below is a GPU's" in done.stdout
    assert "bar" not in done.stdout
    found = json.loads(figures.read_text("utf-8"))
    assert [(row["network"], row["batch"], row["precision"]) for row in found["rows"]] == [
        ("tiny", n, precision) for precision in ("float32", "float16") for n in (1, 2)
    ]
    sides = {"splitc", "torch", "onnxruntime"}
    for row in found["rows"]:
        assert row["failures"] == {}
        assert row["kernels_ms"].keys() == row["call_ms"].keys() == sides
        rounded = row["precision"] == "float16"
        assert 1e-5 < row["error"] < 1e-2 if rounded else row["error"] < 1e-5
        assert all(np.isfinite([*row["kernels_ms"].values(), *row["call_ms"].values()]))
