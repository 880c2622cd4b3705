# SPDX-License-Identifier: Apache-2.0
"""What cannot be compiled is refused first; what can be split all the same is split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

import splitc
from splitc.build.compiler import plan
from splitc.cli.app import run
from splitc.errors import UnsupportedOpError, UsageError
from splitc.runtime.ort import Session
from tests.helpers import model_of, save


def bending() -> ModelProto:
    """A network with an operator that no backend knows."""
    node = helper.make_node("Bernoulli", ["r"], ["b"], "bend")
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        node,
        helper.make_node("Tanh", ["b"], ["y"], "tanh"),
    ]
    return model_of(nodes, {"x": [1, 1, 4, 4]}, ["y"], opset=19)


def detecting() -> ModelProto:
    """A detector's end: boxes and scores, of which NonMaxSuppression keeps some."""
    stored = {
        "w": np.full((7, 3, 1, 1), 0.1, np.float32),
        "shape": np.array([1, 7, 16], np.int64),
        "zero": np.array([0], np.int64), "four": np.array([4], np.int64),
        "seven": np.array([7], np.int64), "one": np.array([1], np.int64),
        "most": np.array([5], np.int64), "overlap": np.array([0.5], np.float32),
        "least": np.array([0.5], np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Reshape", ["c", "shape"], ["flat"], "flat"),
        helper.make_node("Slice", ["flat", "zero", "four", "one"], ["first"], "first"),
        helper.make_node("Transpose", ["first"], ["boxes"], "boxes", perm=[0, 2, 1]),
        helper.make_node("Slice", ["flat", "four", "seven", "one"], ["scores"], "scores"),
        helper.make_node(
            "NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["kept"], "nms"
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("kept", TensorProto.INT64, ["count", 3])],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)


def no_prices(*_: Any, **__: Any) -> None:
    raise AssertionError("cuts were priced")


def test_a_layer_that_cannot_be_compiled_is_refused_before_any_cut_is_priced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = splitc.load(bending())
    monkeypatch.setattr("splitc.build.job.find_cuts", no_prices)
    with pytest.raises(UnsupportedOpError, match=r"network has operators.*Bernoulli") as caught:
        plan(model, head="host")
    assert caught.value.at == "layer 'bend' (Bernoulli)"
    assert "--emit onnx" in caught.value.hint


def test_a_torch_network_is_not_told_of_a_flag_that_it_cannot_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Exponential(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.matrix_exp(torch.relu(x))  # pyright: ignore

    model = splitc.load(Exponential(), torch.ones(1, 8, 8))
    monkeypatch.setattr("splitc.build.job.find_cuts", no_prices)
    with pytest.raises(UnsupportedOpError, match="network has operators") as caught:
        plan(model, head="host")
    assert "torch.onnx.export" in caught.value.hint


def test_cuts_are_planned_where_another_runtime_takes_the_layer() -> None:
    assert plan(splitc.load(bending()), cut="relu", head="host", emit="onnx").row.cut.name == "relu"


def test_cuts_ops_and_compile_name_the_same_layer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(save(bending(), tmp_path / "bend.onnx"))
    told: list[Any] = []
    for verb, code in (("cuts", 0), ("ops", 4)):
        assert run([verb, path, "--json"]) == code
        told.append(json.loads(capsys.readouterr().out)["unsupported"])
    assert told[0] == told[1]
    assert [(one["layer"], one["op"]) for one in told[0]] == [("bend", "Bernoulli")]
    assert run(["compile", path, "-o", str(tmp_path / "b")]) == 4
    assert "layer 'bend' (Bernoulli)" in capsys.readouterr().err
    assert run(["cuts", path]) == 0
    assert "layer 'bend' (Bernoulli)" in capsys.readouterr().out


def test_a_detector_that_ends_in_nms_is_split_into_onnx_parts(tmp_path: Path) -> None:
    proto = detecting()
    bundle = splitc.compile(splitc.load(proto), cut="conv", emit="onnx", output=tmp_path / "b")
    (kept,) = bundle.manifest.source.outputs
    assert (kept.shape, kept.bytes) == ((None, 3), 0)
    bundle.check()
    assert bundle.verify().passed
    session = Session(proto.SerializeToString())
    rng = np.random.default_rng(0)
    # Boxes in the order of their corners, and scores on both sides of the limit.
    counts: set[int] = set()
    feeds = [rng.standard_normal((1, 3, 4, 4)).astype(np.float32) * size for size in (1, 9)]
    for feed in feeds:
        (right,) = session.run(["kept"], {"x": feed})
        np.testing.assert_array_equal(bundle.run(feed)["kept"], right)
        counts.add(len(right))
    assert len(counts) == 2
    with pytest.raises(UsageError, match=r"do not go together\n.*'kept' has another shape"):
        bundle.run(np.stack(feeds))
