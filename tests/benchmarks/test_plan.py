# SPDX-License-Identifier: Apache-2.0
"""The tables that the manual has of cuts under conditions are what is printed today."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.helpers import ROOT


def test_the_manual_has_the_tables_that_the_benchmark_prints() -> None:
    command = [sys.executable, "benchmarks/plan.py", "--quick", "--tables"]
    env = {**os.environ, "PYTHONUTF8": "1"}
    done = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, env=env, encoding="utf-8", timeout=1200
    )
    manual = (ROOT / "docs" / "adaptive.md").read_text("utf-8")
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 3 * (2 + 12)
    assert not [row for row in rows if row not in manual]
    assert "14.307 s" in done.stdout and "14.307 s" in manual
