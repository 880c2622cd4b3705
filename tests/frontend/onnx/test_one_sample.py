# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""Files that PyTorch exported for any number of samples are read for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import helper
from torch import nn

import splitc
from splitc.cli.app import run
from tests.helpers import model_of, save

NET = nn.Sequential(
    nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 5)
).eval()


@pytest.fixture(scope="module", params=[False, True], ids=["TorchScript", "dynamo"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `torch.onnx.export` writes of a network with an open batch, by either exporter."""
    path = tmp_path_factory.mktemp("open") / "open.onnx"
    example = (torch.randn(2, 3, 6, 6),)
    if request.param:
        batch = torch.export.Dim("batch")
        torch.onnx.export(
            NET, example, path, dynamo=True, dynamic_shapes=({0: batch},), external_data=False,
            input_names=["x"], output_names=["y"], verbose=False,
        )  # fmt: skip
    else:
        torch.onnx.export(
            NET, example, path, dynamo=False, input_names=["x"], output_names=["y"],
            dynamic_axes={"x": {0: "batch_size"}, "y": {0: "batch_size"}},
        )  # fmt: skip
    return path


def test_an_open_batch_is_one_sample_and_a_note_says_so(exported: Path) -> None:
    model = splitc.load(exported)
    assert model.graph.inputs[0].shape == (1, 3, 6, 6)
    assert model.note == "the number of samples is open and was fixed: --input x:1x3x6x6"
    frame = np.random.default_rng(0).standard_normal((1, 3, 6, 6), np.float32)
    session: Any = onnxruntime.InferenceSession(exported)
    right = session.run(None, {"x": frame})[0]
    np.testing.assert_allclose(model.run({"x": frame})["y"], right, rtol=1e-5, atol=1e-6)


def test_more_samples_are_taken_where_they_are_asked_for(exported: Path) -> None:
    model = splitc.load(exported, inputs={"x": (4, 3, 6, 6)})
    assert model.graph.inputs[0].shape == (4, 3, 6, 6)
    assert model.note == ""


def test_the_tail_of_one_sample_is_compiled_for_batches_too(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--emit", "onnx", "--batch", "1,2", "-o", str(tmp_path / "o.splitc")]
    assert run(["compile", str(exported), *arguments]) == 0
    assert "the number of samples is open" in capsys.readouterr().err


@pytest.mark.parametrize("declared", [("batch", 3, "h", 6), ("seq", 3, 6, 6), (1, "n", 6, 6)])
def test_other_open_extents_are_the_users_to_fix(
    declared: tuple[int | str, ...], tmp_path: Path
) -> None:
    proto = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": declared}, ["y"], {})
    with pytest.raises(splitc.errors.BadModelError, match="dynamic extents"):
        splitc.load(save(proto, tmp_path / "open.onnx"))


def test_inputs_of_one_batch_have_as_many_samples(tmp_path: Path) -> None:
    inputs: dict[str, tuple[int | str, ...]] = {"a": ("N", 3), "b": ("N", 3)}
    proto = model_of([helper.make_node("Add", ["a", "b"], ["y"])], inputs, ["y"], {})
    model = splitc.load(save(proto, tmp_path / "two.onnx"), inputs={"a": (4, 3)})
    assert [tensor.shape for tensor in model.graph.inputs] == [(4, 3), (4, 3)]
    assert "b:4x3" in model.note
