# SPDX-License-Identifier: Apache-2.0
"""Quantising a network: ranges are those of the samples, costs those of others, files run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

import splitc
from splitc.arrays import Array, Arrays
from splitc.build.rebuild import rebuild
from splitc.bundle.codec_cost import quantized_in_words
from splitc.cli.app import run
from splitc.errors import UnsupportedOpError, UsageError
from splitc.frontend.onnx.model import OnnxModel
from splitc.quantization import METHODS, quantize
from splitc.runtime.ort import Session
from tests.helpers import model_of, small_network


def images(count: int = 10, seed: int = 0) -> list[Arrays]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.standard_normal((1, 3, 12, 12)).astype(np.float32)} for _ in range(count)]


def constants(model: OnnxModel, op: str, tensor: str) -> tuple[Array, Array]:
    """Scale and zero point of the first operator of that kind that reads a tensor."""
    stored = {each.name: numpy_helper.to_array(each) for each in model.proto.graph.initializer}
    node = next(n for n in model.proto.graph.node if n.op_type == op and n.input[0] == tensor)
    return stored[node.input[1]], stored[node.input[2]]


def by_onnxruntime(proto: ModelProto, feed: Arrays) -> Array:
    """By onnxruntime with nothing fused."""
    return Session(proto.SerializeToString()).run(["y"], feed)[0]


@pytest.mark.parametrize("largest", range(10))
def test_a_range_is_that_of_every_sample_but_those_that_tell_the_cost(largest: int) -> None:
    samples = images()
    samples[largest]["x"][...] = 0
    samples[largest]["x"][0, 0, 0, :2] = -100, 155
    made = quantize(splitc.load(small_network()), samples)
    assert made.calibrated == 8
    assert made.held_out
    assert made.cost.samples == 2
    scale, zero = constants(made.model, "QuantizeLinear", "x")
    if largest in (4, 9):
        assert scale * 255 < 12
    else:
        # 256 levels from -100 to 155.
        np.testing.assert_allclose(scale, 1.0, rtol=1e-6)
        assert zero == 100


@pytest.mark.parametrize("method", METHODS)
def test_what_is_quantised_runs_on_bytes_near_the_given_network(method: str) -> None:
    given = splitc.load(small_network())
    made = quantize(given, images(), method=method)
    assert set(made.on_bytes) == {"stem", "block_conv", "classifier"}
    assert made.in_floats == ()
    for sample in images(3, seed=1):
        right = given.run(sample)["y"]
        np.testing.assert_allclose(by_onnxruntime(made.model.proto, sample), right, atol=0.05)
    (one,) = made.cost.results
    assert 0 < one.relative_error < 0.2


def test_the_cost_is_what_the_held_out_samples_give() -> None:
    given = splitc.load(small_network())
    samples = images()
    labels = np.array([int(given.run(one)["y"].argmax()) for one in samples])
    labels[4] = (labels[4] + 1) % 10
    made = quantize(given, samples, labels)
    pairs = [(by_onnxruntime(made.model.proto, samples[k]), given.run(samples[k])["y"])
             for k in (4, 9)]  # fmt: skip
    (one,) = made.cost.results
    off = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in pairs) / sum(np.sum(b**2) for _, b in pairs))
    np.testing.assert_allclose(one.relative_error, off, rtol=1e-3)
    assert one.argmax_same == sum(a.argmax() == b.argmax() for a, b in pairs)
    assert made.cost.given_accuracy == 0.5


def test_few_samples_serve_for_both() -> None:
    made = quantize(splitc.load(small_network()), images(3))
    assert (made.calibrated, made.held_out, made.cost.samples) == (3, False, 3)


def test_weights_have_a_scale_a_channel_or_one() -> None:
    given = splitc.load(small_network())
    assert isinstance(given, OnnxModel)
    for per_channel, scales in ((True, (8,)), (False, ())):
        made = quantize(given, images(), per_channel=per_channel)
        nodes = made.model.proto.graph.node
        stem = next(node for node in nodes if node.name == "stem")
        reader = next(node for node in nodes if stem.input[1] in node.output)
        assert constants(made.model, "DequantizeLinear", reader.input[0])[0].shape == scales


def test_layers_are_kept_in_floats() -> None:
    made = quantize(splitc.load(small_network()), images(), keep=["stem", "classifier"])
    assert made.on_bytes == ("block_conv",)
    assert set(made.in_floats) == {"stem", "classifier"}


def test_an_old_opset_is_brought_to_one_with_scales_a_channel() -> None:
    proto = small_network()
    del proto.opset_import[:]
    proto.opset_import.append(helper.make_opsetid("", 11))
    made = quantize(splitc.load(proto), images())
    assert set(made.on_bytes) == {"stem", "block_conv", "classifier"}


def test_what_cannot_be_quantised_is_refused() -> None:
    given = splitc.load(small_network())
    with pytest.raises(UsageError, match="no samples"):
        quantize(given, [])
    with pytest.raises(UsageError, match="no method 'entropi'") as wrong:
        quantize(given, images(), method="entropi")
    assert "entropy" in (wrong.value.hint or "")
    with pytest.raises(UsageError, match="no layer 'stemm'"):
        quantize(given, images(), keep=["stemm"])
    with pytest.raises(UnsupportedOpError, match="quantised already"):
        quantize(quantize(given, images()).model, images())
    bare = model_of([helper.make_node("Relu", ["x"], ["y"], "relu")], {"x": [1, 4]}, ["y"], {})
    with pytest.raises(UnsupportedOpError, match="no layer"):
        quantize(splitc.load(bare), [{"x": np.ones((1, 4), np.float32)}])


def test_networks_of_pytorch_are_sent_to_their_export() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(4, 2).eval()
    given = splitc.load(module, (torch.ones(1, 4),))
    with pytest.raises(UnsupportedOpError, match="in ONNX") as wrong:
        quantize(given, [{"input": np.ones((1, 4), np.float32)}])
    assert "torch.onnx.export" in (wrong.value.hint or "")


def test_the_verb_writes_a_file_that_compiles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("net.onnx").write_bytes(small_network().SerializeToString())
    np.savez("images.npz", x=np.stack([one["x"] for one in images()]), labels=np.arange(10))
    assert run(["quantize", "net.onnx", "--calibrate", "images.npz"]) == 0
    said = capsys.readouterr().out
    assert "3 layers on bytes; ranges from 8 samples" in said
    assert "on 2 others" in said
    assert "accuracy" in said
    assert said.rstrip().endswith("\n\nNext: splitc compile net.int8.onnx")
    assert max(map(len, said.splitlines())) <= 80
    compiled = splitc.compile("net.int8.onnx", cut="stem", head="host", output="net.splitc")
    sample = images(1, seed=1)[0]["x"]
    right = Session(Path("net.int8.onnx")).run(["y"], {"x": sample})[0]
    np.testing.assert_allclose(compiled.run(sample)["y"], right, atol=0.02)
    assert run(["quantize", "net.onnx", "--calibrate", "images.npz", "--json", "-q"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["file"] == "net.int8.onnx"
    assert printed["cost"]["given_accuracy"] is not None
    assert run(["quantize", "net.onnx", "--calibrate", "images.npz", "-o", "no/such/a.onnx"]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_one_sample_that_was_kept_back_is_one_other() -> None:
    entry = quantize(splitc.load(small_network()), images()).entry
    alone = msgspec.structs.replace(
        entry, held_out=True, cost=msgspec.structs.replace(entry.cost, samples=1)
    )
    assert any("on 1 other:" in line for line in quantized_in_words(alone))


@pytest.fixture
def floats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A network in floats beside samples of it, and what compiles it on bytes to ONNX files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("net.onnx").write_bytes(small_network().SerializeToString())
    np.savez("images.npz", x=np.stack([one["x"] for one in images()]), labels=np.arange(10))
    return ["compile", "net.onnx", "--precision", "int8", "--emit", "onnx", "-o", "net.splitc"]


def test_a_network_is_quantised_and_cut_in_one_step(
    floats: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*floats, "--cut", "stem", "--calibrate", "images.npz"]) == 0
    said = capsys.readouterr().out
    given = splitc.load("net.onnx")
    made = quantize(given, images(), np.arange(10))
    for line in quantized_in_words(made.entry):
        assert line in said
    assert "3 layers on bytes; ranges from 8 samples" in said
    bundle = splitc.Bundle.open("net.splitc")
    source = bundle.manifest.source
    assert source.quantized == made.entry
    assert source.sha256 == hashlib.sha256(Path("net.onnx").read_bytes()).hexdigest()
    assert bundle.manifest.route.cut == ("stem",)
    sample = images(1, seed=1)[0]
    np.testing.assert_array_equal(
        bundle.run(sample["x"])["y"], by_onnxruntime(made.model.proto, sample)
    )
    page = Path("net.splitc/report.html").read_text("utf-8")
    assert "3 layers on bytes" in page
    for verb in (["inspect"], ["verify"], ["report", "--format", "md", "-o", "-"]):
        assert run([*verb, "net.splitc"]) == 0
        assert "3 layers on bytes" in capsys.readouterr().out


def test_a_bundle_on_bytes_is_made_again_from_the_network_in_floats(floats: list[str]) -> None:
    assert run([*floats, "--cut", "stem", "--calibrate", "images.npz", "-q"]) == 0
    made = rebuild(splitc.Bundle.open("net.splitc"), "net.onnx", files={"calibrate": "images.npz"})
    assert made.same


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "--precision int8 without --calibrate"),
        (["--calibrate", "images.npz", "--to-torch"], "--precision int8, and --to-torch"),
        (["--calibrate", "images.npz", "--plan", "plan.json"], "--precision int8, and --plan"),
    ],
)
def test_bytes_are_refused_without_what_they_need(
    floats: list[str], capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert run([*floats, *more]) != 0
    assert said in capsys.readouterr().err
    assert not Path("net.splitc").exists()


def test_an_unknown_precision_is_told_every_known_one(
    floats: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*floats, "--precision", "int4"]) != 0
    assert "int8" in capsys.readouterr().err
