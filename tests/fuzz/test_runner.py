# SPDX-License-Identifier: Apache-2.0
"""A few seconds of the fuzzers of the runner: they build, run, and find nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.runner import TARGETS, build, find_clang, fuzz


@pytest.mark.parametrize("target", TARGETS)
def test_the_runner_withstands_a_few_seconds(target: str, tmp_path: Path) -> None:
    clang = find_clang()
    if clang is None:
        pytest.skip("clang is not installed")
    (tmp_path / "corpus").mkdir()
    found = fuzz(build(target, clang, tmp_path), tmp_path / "corpus", seconds=2, seed=1)
    assert found.failure == ""
    assert found.runs > 1000
    assert found.edges > 100
