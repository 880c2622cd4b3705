# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""The folder of a fine-tuned model: written, read back, damaged."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("safetensors", reason="needs safetensors")

from safetensors.numpy import load_file  # noqa: E402

import splitc  # noqa: E402
from splitc.errors import BadModelError, IllegalCutError, OutputError, UsageError  # noqa: E402
from splitc.finetune.folder import Origin, load_tuned, save_tuned  # noqa: E402
from splitc.finetune.loop import Tuned  # noqa: E402
from splitc.finetune.manifest import is_tuned, read_manifest  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc.ir.chain import channel_layers  # noqa: E402
from splitc.passes.base import Pipeline  # noqa: E402
from splitc_passes.analyses.group_blocks import cut_points  # noqa: E402
from tests.finetune.nets import loaded  # noqa: E402
from tests.frontend.torch.nets import build, example  # noqa: E402

CODEC = 'insert-bottleneck(channels=4, cut="2", channel="awgn")'


def write(folder: Path, model: TorchModel, pipeline: str) -> TorchModel:
    """Apply passes to a model, write it as if it had been trained; what was written."""
    passes = Pipeline.parse(pipeline)
    made = passes(model)
    save_tuned(folder, Tuned(made, ()), Origin("net", "a.py:net", "0", model.graph, passes))
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "net.tuned", loaded(), CODEC)
    return tmp_path / "net.tuned"


def outputs(model: TorchModel) -> list[np.ndarray]:
    value = np.random.default_rng(0).standard_normal(model.graph.inputs[0].static_shape)
    return list(model.run({model.graph.inputs[0].name: value.astype(np.float32)}).values())


@pytest.mark.parametrize("name", ["plain", "resnet-a", "shufflenet", "vit"])
def test_a_network_with_dropout_comes_back(name: str, tmp_path: Path) -> None:
    model = splitc.load(build(name), example())
    points = [p for p in cut_points(model.graph, "exact") if len(model.graph.layer(p).outputs) == 1]
    made = write(tmp_path / "a", model, f'insert-dropout(cut="{points[len(points) // 2]}")')
    back = load_tuned(tmp_path / "a")
    for one, other in zip(outputs(made), outputs(back), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert back.cut is not None
    assert made.cut is not None
    assert back.cut.boundary == made.cut.boundary
    assert len(channel_layers(back.graph)) == 1
    if name != "resnet-a":
        assert str(back.graph) == str(made.graph), "torch.export kept the layers"


@pytest.mark.parametrize("bits", [8, 32])
@pytest.mark.parametrize("channel", ["none", "erasure", "packets"])
def test_a_codec_comes_back_with_its_channel_and_cut(
    bits: int, channel: str, tmp_path: Path
) -> None:
    if (bits, channel) == (32, "erasure"):
        channel = "awgn"
    text = f'insert-bottleneck(channels=4, cut="2", bits={bits}, channel="{channel}", psnr_db=10.0)'
    made = write(tmp_path / "a", loaded(), text)
    back = load_tuned(tmp_path / "a")
    for one, other in zip(outputs(made), outputs(back), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert back.cut is not None
    (crossing,) = back.cut.boundary
    assert (crossing.static_shape, crossing.dtype) == (
        (1, 4, 3, 3), "uint8" if bits == 8 else "float32",
    )  # fmt: skip
    assert len(channel_layers(back.graph)) == (channel != "none")
    assert back.codec == str(Pipeline.parse(text))


def test_a_boundary_that_the_next_layer_writes_over_is_found(tmp_path: Path) -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU(inplace=True), torch.nn.Flatten()
    )
    write(tmp_path / "a", loaded(net.eval()), 'insert-dropout(cut="0")')
    back = load_tuned(tmp_path / "a")
    assert back.cut is not None
    assert [t.name for t in back.cut.boundary] == ["0"]
    assert back.graph.layer("0").op == "conv"
    assert channel_layers(back.graph) == ("0.link_dropout",)


def test_the_channel_that_comes_back_draws_what_it_drew(tmp_path: Path) -> None:
    made = write(tmp_path / "a", loaded(), CODEC)
    back = load_tuned(tmp_path / "a")
    feed = {"input": np.random.default_rng(1).random((1, 2, 6, 6), np.float32)}
    received: list[list[np.ndarray]] = []
    for model in (made, back):
        assert model.cut is not None
        got = model.received(feed, model.cut, 5)
        assert got is not None
        received.append(list(got.values()))
    for one, other in zip(*received, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1)


def test_nothing_in_it_is_pickled(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == [
        "model.pt2", "tuned.json", "weights.safetensors",
    ]  # fmt: skip
    manifest = read_manifest(folder)
    assert (manifest.pipeline, manifest.boundary) == (CODEC, "2.code.levels")
    assert is_tuned(folder)
    with zipfile.ZipFile(folder / "model.pt2") as archive:
        assert not [name for name in archive.namelist() if name.endswith((".pkl", ".pickle"))]


def test_the_weights_have_the_names_of_the_users_module(folder: Path) -> None:
    stored = load_file(folder / "weights.safetensors")
    model = loaded()
    for name, tensor in model.module.state_dict().items():
        np.testing.assert_array_equal(stored[name], tensor.numpy())
    assert any(name.startswith("link.") for name in stored)


DAMAGES = {
    "no manifest": "is no folder of a fine-tuned model",
    "malformed": "is no folder of a fine-tuned model\n.*tuned.json",
    "another schema": "its schema is 9",
    "an unknown field": "unknown field",
    "a program cut short": "sha256 is not the one",
    "another program": "sha256 is not the one",
    "no weights": "is damaged\n.*weights",
    "a linked program": "no plain file",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_refused(damage: str, folder: Path, tmp_path: Path) -> None:
    path, program = folder / "tuned.json", folder / "model.pt2"
    manifest = json.loads(path.read_text("utf-8"))
    if damage == "no manifest":
        path.unlink()
    elif damage == "malformed":
        path.write_text("[]", "utf-8")
    elif damage == "another schema":
        path.write_text(json.dumps({**manifest, "schema": 9}), "utf-8")
    elif damage == "an unknown field":
        path.write_text(json.dumps({**manifest, "run": "rm"}), "utf-8")
    elif damage == "a program cut short":
        program.write_bytes(program.read_bytes()[:-100])
    elif damage == "another program":
        torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.zeros(1),)), program)
    elif damage == "no weights":
        (folder / "weights.safetensors").unlink()
    else:
        program.rename(tmp_path / "elsewhere.pt2")
        program.symlink_to(tmp_path / "elsewhere.pt2")
    with pytest.raises(BadModelError, match=DAMAGES[damage]):
        load_tuned(folder)


def test_passes_that_are_not_installed_are_named(folder: Path) -> None:
    path = folder / "tuned.json"
    manifest = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**manifest, "pipeline": "insert-magic"}), "utf-8")
    with pytest.raises(UsageError, match="no 'insert-magic' among the passes"):
        load_tuned(folder)


def test_too_large_a_program_is_refused(folder: Path) -> None:
    with pytest.raises(BadModelError, match="too large"):
        load_tuned(folder, max_bytes=1000)


def test_only_a_folder_of_the_same_kind_is_replaced(folder: Path, tmp_path: Path) -> None:
    write(folder, loaded(), 'insert-dropout(cut="2")')
    assert read_manifest(folder).pipeline == 'insert-dropout(cut="2")'
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x", "utf-8")
    with pytest.raises(OutputError, match="something else is there"):
        write(tmp_path / "mine", loaded(), CODEC)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "net.tuned"]


def test_a_model_without_a_cut_is_refused(tmp_path: Path) -> None:
    model = loaded()
    with pytest.raises(IllegalCutError, match="needs a cut"):
        save_tuned(tmp_path / "a", Tuned(model, ()), Origin("n", "s", "0", model.graph, Pipeline()))
    assert list(tmp_path.iterdir()) == []
