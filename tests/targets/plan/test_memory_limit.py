# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Code that keeps a memory limit, by giving up Winograd where its weights are too large."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper

from splitc import Constraints
from splitc.build import compiler
from splitc.build.backend import Built
from splitc.cost.board import load_board
from splitc_targets import pipeline
from splitc_targets.tvm import adapter
from tests.helpers import model_of, save
from tests.targets.nets import computed, wanted

SIZES = ((64, 28), (128, 14), (96, 28))


def network() -> ModelProto:
    """Three 3x3 convolutions that Winograd's algorithm suits, of different sizes."""
    rng = np.random.default_rng(0)
    nodes, weights, last, before = [], {}, "x", 64
    for k, (channels, _) in enumerate(SIZES):
        shape = (channels, before, 3, 3)
        weights[f"w{k}"] = (rng.standard_normal(shape) / np.sqrt(9 * before)).astype(np.float32)
        nodes.append(helper.make_node("Conv", [last, f"w{k}"], [f"c{k}"], f"c{k}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{k}"], [f"r{k}"], f"r{k}"))
        last, before = f"r{k}", channels
    return model_of(nodes, {"x": [1, 64, 28, 28]}, [last], weights)


def rules(code: pipeline.Code) -> list[str]:
    return [kernel.rule for kernel in code.kernels if "conv2d" in kernel.op]


def compiled(board: str, limit_bytes: int | None = None) -> pipeline.Code:
    return pipeline.compile_module(
        adapter.lower(network()), load_board(board), limit_bytes=limit_bytes
    )


@pytest.mark.parametrize("board", ["host", "rpi4"])
def test_winograd_is_given_up_for_as_many_as_it_takes(board: str) -> None:
    free = compiled(board)
    used = [rule.startswith("winograd") for rule in rules(free)]
    if not all(used):
        pytest.skip(f"the model does not choose Winograd for {board}")
    needed = free.constant_bytes + free.activation_bytes
    plain = 4 * 9 * (64 * 64 + 128 * 64 + 96 * 128)
    assert free.constant_bytes > 1.5 * plain
    assert rules(compiled(board, needed)) == rules(free)
    one_less = compiled(board, needed - 1)
    assert sum(r.startswith("winograd") for r in rules(one_less)) == len(used) - 1
    assert one_less.constant_bytes + one_less.activation_bytes < needed
    none = compiled(board, 1)
    assert not any(r.startswith("winograd") for r in rules(none))
    assert plain <= none.constant_bytes < 1.1 * plain


def test_the_results_are_the_same_within_rounding() -> None:
    proto = network()
    x = {"x": np.random.default_rng(1).standard_normal((1, 64, 28, 28)).astype(np.float32)}
    (want,) = wanted(proto, x)
    free, small = compiled("host"), compiled("host", 1)
    for code in (free, small):
        (got,) = computed(code, proto, x)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def build(tmp_path: Path, limit_bytes: int | None) -> tuple[dict[str, Built], list[str]]:
    path = save(network(), tmp_path / "three.onnx")
    limits = Constraints(max_head_bytes=limit_bytes)
    job = compiler.plan(path, cut="r1", head="host", tail="host", constraints=limits)
    parts: dict[str, Built] = {}
    notes: list[str] = []
    compiler.build(job, output=tmp_path / f"{limit_bytes}.splitc", runtime="none",
                   told=parts.__setitem__, note=notes.append)  # fmt: skip
    return parts, notes


def test_the_limit_of_the_head_s_memory_is_kept_by_its_code(tmp_path: Path) -> None:
    free, _ = build(tmp_path, None)
    path = tmp_path / "three.onnx"
    row = compiler.plan(path, cut="r1", head="host", tail="host").row
    limit = row.cost.head_peak_bytes + 100_000
    taken = free["head"].weight_bytes + free["head"].activation_bytes
    if taken <= limit:
        pytest.skip("the model does not choose Winograd here")
    kept, notes = build(tmp_path, limit)
    assert kept["head"].weight_bytes + kept["head"].activation_bytes <= limit
    assert not any("limit" in note for note in notes)
    assert kept["tail"].weight_bytes == free["tail"].weight_bytes, "the tail has no limit"


def test_a_limit_that_the_code_breaks_is_said(tmp_path: Path) -> None:
    path = save(network(), tmp_path / "three.onnx")
    row = compiler.plan(path, cut="r1", head="host", tail="host").row
    parts, notes = build(tmp_path, row.cost.head_peak_bytes)
    taken = parts["head"].weight_bytes + parts["head"].activation_bytes
    said = [note for note in notes if note.startswith("head: its code takes")]
    assert bool(said) == (taken > row.cost.head_peak_bytes)
