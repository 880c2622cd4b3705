# SPDX-License-Identifier: Apache-2.0
"""The folder that fine-tuning writes, loaded and compiled: its cut, its codec, its channel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("safetensors", reason="needs safetensors")

import splitc  # noqa: E402
from splitc.bundle.bundle import Bundle, require  # noqa: E402
from splitc.cli.app import run  # noqa: E402
from splitc.errors import UsageError  # noqa: E402
from splitc.finetune.folder import Origin, save_tuned  # noqa: E402
from splitc.finetune.loop import Tuned  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc.ir.chain import Code, channel_layers  # noqa: E402
from splitc.passes.base import Pipeline  # noqa: E402
from tests.build.test_compile_codec import network  # noqa: E402

Capture = pytest.CaptureFixture[str]
PIPELINE = 'insert-bottleneck(channels=6, cut="4", channel="erasure", erasure_rate=0.1)'


def tuned_model() -> TorchModel:
    """A network with a codec, its weights as some training left them."""
    model = Pipeline.parse(PIPELINE)(network())
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(7)
        for parameter in model.module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `splitc finetune` leaves."""
    before, path = network(), tmp_path_factory.mktemp("tuned") / "small.tuned"
    origin = Origin("small", "small.pt2", before.digest, before.graph, Pipeline.parse(PIPELINE))
    save_tuned(path, Tuned(tuned_model(), ()), origin)
    return path


def test_a_tuned_folder_loads_with_its_cut_codec_and_channel(folder: Path) -> None:
    model = splitc.load(folder)
    assert isinstance(model, TorchModel)
    assert model.codec == PIPELINE
    assert model.cut is not None
    assert [t.name for t in model.cut.boundary] == ["4.code.levels"]
    (channel,) = channel_layers(model.graph)
    assert model.graph.layer(channel).op == "bit_erasure"
    assert model.channel_settings(channel) == "rate=0.1, bits=8"
    x = np.random.default_rng(2).standard_normal((1, 3, 9, 9)).astype(np.float32)
    got, expected = model.run({"input": x}), tuned_model().run({"input": x})
    np.testing.assert_allclose(got["7"], expected["7"], rtol=1e-5, atol=1e-6)


def test_a_tuned_folder_is_compiled_at_its_cut_and_verified_over_its_channel(
    folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "t.splitc"
    assert run(["compile", str(folder), "--target", "host", "-o", str(out), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["table"]["own"] == made["chosen"]["cut"] == "4.code.levels"
    assert not any("untrained" in note for note in made["notes"])
    bundle = Bundle.open(out)
    manifest = bundle.manifest
    assert manifest.name == "small"
    assert manifest.route.codec is not None
    assert (manifest.route.codec.pipeline, manifest.route.codec.received) == (PIPELINE, True)
    found = bundle.verify()
    require(found)
    assert found.received[0].relative < 1e-4
    x = np.random.default_rng(2).standard_normal((1, 3, 9, 9)).astype(np.float32)
    expected = tuned_model().run({"input": x})["7"]
    np.testing.assert_allclose(bundle.run(x)["7"], expected, rtol=1e-4, atol=1e-5)


def test_the_table_of_a_tuned_folder_marks_its_cut(folder: Path, capsys: Capture) -> None:
    assert run(["cuts", str(folder), "--bandwidth", "2Mbit"]) == 0
    out = capsys.readouterr().out
    (chosen,) = [line for line in out.splitlines() if line.startswith("▸")]
    assert "4.code.levels" in chosen
    assert "The model is cut after 4.code.levels: --cut auto is that one." in out
    assert run(["inspect", str(folder)]) == 0
    assert "4.encoder" in capsys.readouterr().out


def test_shapes_of_a_tuned_model_are_fixed(folder: Path) -> None:
    with pytest.raises(UsageError, match="input shapes are fixed in a fine-tuned model"):
        splitc.load(folder, inputs={"input": (2, 3, 9, 9)})


def test_a_tuned_folder_knows_what_stands_for_lost_levels(tmp_path: Path) -> None:
    pipeline = Pipeline.parse('quantize-boundary(cut="4", bits=3, low=-1.0, high=2.0)')
    before = network()
    model = pipeline(before)
    code = Code(bytes.fromhex("922449"), unit=3)
    assert model.codes == {"4.levels": code}, "eight times the level 2"
    origin = Origin("small", "small.pt2", before.digest, before.graph, pipeline)
    save_tuned(tmp_path / "q.tuned", Tuned(model, ()), origin)
    loaded = splitc.load(tmp_path / "q.tuned")
    assert loaded.codes == model.codes
