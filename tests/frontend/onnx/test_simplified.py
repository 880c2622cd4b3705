# SPDX-License-Identifier: Apache-2.0
"""Large networks go through onnxsim once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import splitc
from splitc.frontend.onnx import simplified
from splitc.frontend.onnx.model import OnnxModel
from splitc.frontend.onnx.simplifier import Simplifier
from tests.helpers import model_of, save


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network of 1 MB with a layer that onnxsim takes out, and an empty cache."""
    monkeypatch.setenv("SPLITC_CACHE_DIR", str(tmp_path / "cache"))
    weight = np.random.default_rng(0).standard_normal((2**18, 1)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "big"),
        helper.make_node("Identity", ["m"], ["i"], "nothing"),
        helper.make_node("Relu", ["i"], ["y"], "relu"),
    ]
    return save(model_of(nodes, {"x": [1, 2**18]}, ["y"], {"w": weight}), tmp_path / "big.onnx")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A word for each run of onnxsim."""
    found: list[str] = []
    run = Simplifier.run

    def counted(self: Simplifier, *given: Any) -> Any:
        found.append("run")
        return run(self, *given)

    monkeypatch.setattr(Simplifier, "run", counted)
    return found


def test_what_onnxsim_made_is_used_again_and_is_the_same(large: Path, runs: Sequence[str]) -> None:
    first, again = splitc.load(large), splitc.load(large)
    assert len(runs) == 1
    assert isinstance(first, OnnxModel) and isinstance(again, OnnxModel)
    assert [layer.name for layer in again.graph.layers] == ["x", "big", "relu"]
    assert again.proto == first.proto
    assert again.digest == first.digest


def test_other_extents_and_other_networks_are_others(large: Path) -> None:
    keys = {simplified.key_of(digest, inputs) for digest in "ab" for inputs in ({}, {"x": (1,)})}
    assert len(keys) == 4


def test_one_that_was_altered_is_not_believed(
    large: Path, tmp_path: Path, runs: Sequence[str]
) -> None:
    first = splitc.load(large)
    (kept,) = (tmp_path / "cache" / "simplified").glob("*/model.onnx")
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    kept.write_bytes(data)
    again = splitc.load(large)
    assert len(runs) == 2
    assert isinstance(first, OnnxModel) and isinstance(again, OnnxModel)
    assert again.proto == first.proto


def test_what_was_not_used_for_longest_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPLITC_CACHE_DIR", str(tmp_path))
    small = model_of([helper.make_node("Relu", ["x"], ["y"], "r")], {"x": [1]}, ["y"])
    data = small.SerializeToString()
    monkeypatch.setattr(simplified, "_MOST_BYTES", 2 * len(data) + 1)
    for key in ("a", "b"):
        simplified.keep(key, data)
    assert simplified.take("a") == small
    simplified.keep("c", data)
    assert [simplified.take(key) is None for key in "abc"] == [False, True, False]


def test_a_cache_that_cannot_be_written_stops_nothing(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPLITC_CACHE_DIR", "/proc/nowhere")
    assert splitc.load(large).graph.layers[-1].name == "relu"
