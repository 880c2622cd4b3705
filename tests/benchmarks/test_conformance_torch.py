# SPDX-License-Identifier: Apache-2.0
"""PyTorch's own samples of the operators in ATen's core set: what passed still does.

Here one sample of some operators, in one process; all by `benchmarks/conformance_torch.py --core`.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch")

from conformance_run import PASSED
from conformance_torch import (
    BAR,
    COMPLEX,
    DRAWS,
    UNTRIED,
    VALUES_DECIDE,
    calls_of,
    in_core,
    operators,
    outcomes,
    why_apart,
)

from benchmarks.operators import COUNTS

COUNT, TOGETHER = 48, 16


def chosen(seed: int) -> list[tuple[str, Any, Any]]:
    """One sample of each of COUNT operators, those that were refused left out."""
    refused = set(json.loads(COUNTS.read_text("utf-8"))["torch"]["refused_samples"])
    draw = Random(seed)
    core = {name: op for name, op in operators().items() if in_core(op)}
    found: list[tuple[str, Any, Any]] = []
    for name in draw.sample(sorted(core), len(core)):
        sample, call, tensors = draw.choice(list(calls_of(name, core[name])))
        if sample not in refused and not why_apart(call, tensors):
            found.append((sample, call, tensors))
        if len(found) == COUNT:
            break
    return found


def test_samples_of_pytorch_s_that_passed_still_do() -> None:
    some = chosen(0)
    assert len(some) == COUNT
    for k in range(0, COUNT, TOGETHER):
        batch = some[k : k + TOGETHER]
        found = outcomes([(call, tensors) for _, call, tensors in batch])
        made = {sample: one for (sample, *_), one in zip(batch, found, strict=True)}
        assert not {sample: one for sample, one in made.items() if one[0] != PASSED}


def test_the_bar_of_pytorch_s_samples_is_kept() -> None:
    counts = json.loads(COUNTS.read_text("utf-8"))["torch"]
    assert counts["wrong"] == counts["crashed"] == 0
    assert counts["counted"] == counts["passed"] + counts["refused"]
    assert 100 * counts["passed"] / counts["counted"] >= BAR
    assert len(set(counts["refused_samples"])) == counts["refused"]
    assert {*counts["apart"]} <= {*UNTRIED, COMPLEX, DRAWS, VALUES_DECIDE}
