# SPDX-License-Identifier: Apache-2.0
"""Networks compiled with a codec inside: what crosses, what the manifest says, what is verified."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import nn  # noqa: E402

import splitc  # noqa: E402
from splitc.build.compiler import build, plan  # noqa: E402
from splitc.bundle.bundle import Bundle, require  # noqa: E402
from splitc.bundle.golden import seeded_inputs  # noqa: E402
from splitc.cli.app import run  # noqa: E402
from splitc.errors import UsageError, VerificationError  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc.passes.calibration import read_batches, read_labels  # noqa: E402
from splitc.runtime.codec_entry import ChannelEntry  # noqa: E402
from splitc_passes.codecs.insert_bottleneck import InsertBottleneck  # noqa: E402
from splitc_passes.layers.bit_erasure import BitErasure  # noqa: E402
from splitc_passes.layers.channel import transmitting  # noqa: E402
from splitc_passes.training.insert_dropout import InsertDropout  # noqa: E402
from tests.bundle.test_bundle import rehash  # noqa: E402

Capture = pytest.CaptureFixture[str]
Array = np.ndarray[Any, np.dtype[Any]]
ERASURE = 'insert-bottleneck(channels=6, channel="erasure", erasure_rate=0.1)'


def network() -> TorchModel:
    """Two convolutions, the second of which is cut after, and a classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.AvgPool2d(3), nn.Flatten(),
            nn.Linear(108, 10),
        )  # fmt: skip
    return splitc.load(net.eval(), torch.zeros(1, 3, 9, 9))


def golden(bundle: Bundle, name: str) -> Array:
    """The first sample's golden vector."""
    return np.load(bundle.path / "golden" / name / "0.npy")[0]


@pytest.fixture(scope="module")
def erased(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, list[str]]:
    """A bundle with a learned codec over an erasure channel, and what its making said."""
    folder = tmp_path_factory.mktemp("erased")
    notes: list[str] = []
    job = plan(network(), cut="4", head="host", codec=ERASURE)
    return build(job, output=folder / "e.splitc", note=notes.append), notes


def test_head_holds_the_encoder_and_tail_the_decoder(erased: tuple[Bundle, list[str]]) -> None:
    bundle, _ = erased
    (crosses,) = bundle.manifest.route.crosses
    assert (crosses.name, crosses.dtype, crosses.bytes) == ("4.code.levels", "uint8", 6 * 5 * 5)
    # What leaves the head and what enters the tail are one contract, map order included.
    assert bundle.part("head").outputs == bundle.part("tail").inputs == (crosses,)
    assert (crosses.shape, crosses.layout) == ((1, 5, 5, 6), "channels-last")
    assert bundle.manifest.source.sha256 == network().digest
    model = InsertBottleneck(6, cut="4", channel="erasure", erasure_rate=0.1)(network())
    x = np.random.default_rng(1).standard_normal((1, 3, 9, 9)).astype(np.float32)
    got, expected = bundle.run(x)["7"], model.run({"input": x})["7"]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_the_manifest_names_codec_and_channel(erased: tuple[Bundle, list[str]]) -> None:
    manifest = erased[0].manifest
    codec = manifest.route.codec
    assert codec is not None
    assert (codec.pipeline, codec.cut) == (ERASURE, "4")
    assert codec.channels == (ChannelEntry(op="bit_erasure", settings="rate=0.1, bits=8"),)
    assert manifest.config["codec"] == ERASURE


def test_an_untrained_codec_is_not_compiled_in_silence(erased: tuple[Bundle, list[str]]) -> None:
    assert any("untrained" in note and "splitc finetune" in note for note in erased[1])


def test_the_tail_is_verified_on_what_the_seeded_channel_leaves(
    erased: tuple[Bundle, list[str]],
) -> None:
    bundle, _ = erased
    found = bundle.verify()
    require(found)
    assert [one.name for one in found.received] == ["7"]
    # By hand: code, then the channel module itself, with the seed of the manifest.
    model = InsertBottleneck(6, cut="4", channel="erasure")(network())
    feed = seeded_inputs(model.graph.inputs, 0)
    (sent,) = model.graph.layer("4.channel").inputs
    head, _ = model.split(splitc.Cut.sending(model.graph, sent))
    code = torch.from_numpy(head.run(feed)[sent])
    left = BitErasure(0.1, 8, seed=0).transmit(code).numpy().transpose(0, 2, 3, 1) * 255
    received = golden(bundle, "received").astype(np.float64)
    assert np.abs(received - left).max() <= 0.5 + 1e-3
    assert (received != golden(bundle, "boundary")).mean() > 0.2


def test_values_that_cross_as_floats_are_verified_as_the_noisy_module_computes(
    tmp_path: Path,
) -> None:
    codec = InsertBottleneck(4, cut="4", bits=32, channel="awgn", psnr_db=10.0)
    model = codec(network())
    job = plan(model, head="host")
    bundle = build(job, output=tmp_path / "a.splitc", seed=3)
    assert job.row.cut.name == "4.code"
    feed = seeded_inputs(model.graph.inputs, 3)
    with transmitting(model.module, seed=3), torch.no_grad():
        expected = model.module(torch.from_numpy(feed["input"])).numpy()
    np.testing.assert_allclose(golden(bundle, "received_outputs"), expected, rtol=1e-5, atol=1e-6)
    assert np.abs(expected - golden(bundle, "outputs")).max() > 1e-3
    found = bundle.verify()
    assert found.passed
    assert found.received[0].relative < 1e-4
    # A module that was given is as it was: the channel is there, and off.
    np.testing.assert_array_equal(model.run(feed)["7"], golden(bundle, "outputs"))


def other_results(bundle: Bundle) -> None:
    path = bundle.path / "golden" / "received_outputs" / "0.npy"
    np.save(path, np.load(path)[..., ::-1].copy())


def many_other_levels(bundle: Bundle) -> None:
    path = bundle.path / "golden" / "boundary" / "0.npy"
    np.save(path, np.load(path) ^ np.uint8(1))


@pytest.mark.parametrize("damage", [other_results, many_other_levels])
def test_what_does_not_agree_over_the_channel_fails(
    damage: Callable[[Bundle], None], erased: tuple[Bundle, list[str]], tmp_path: Path
) -> None:
    shutil.copytree(erased[0].path, tmp_path / "e.splitc")
    bundle = Bundle.open(tmp_path / "e.splitc")
    damage(bundle)
    rehash(bundle)
    found = Bundle.open(bundle.path).verify()
    assert not found.passed
    with pytest.raises(VerificationError, match="do not compute what the whole"):
        require(found)


def test_a_real_arm_head_makes_the_levels(tmp_path: Path, qemu: None) -> None:
    bundle = splitc.compile(
        network(), cut="4", head="rpi4", codec=ERASURE, output=tmp_path / "r.splitc"
    )
    found = bundle.verify(emulate=True)
    require(found)
    assert found.ran["head"].how == "rpi4 under qemu"
    assert found.received[0].relative < 1e-4


def test_auto_is_the_best_cut_with_the_codec_or_the_one_that_the_model_has() -> None:
    model = network()
    best = plan(model, head="rpi4", codec="insert-bottleneck(channels=2)").row
    table = splitc.find_cuts(
        model, head="rpi4", tail="host", link=splitc.Link.named("wifi"),
        codec="insert-bottleneck(channels=2)",
    )  # fmt: skip
    assert best.cut == table.best.cut
    assert plan(InsertDropout(cut="3")(model), head="rpi4").row.cut.name == "3"


def test_a_channel_that_stands_elsewhere_is_left_out_and_said(tmp_path: Path) -> None:
    job = plan(InsertDropout(cut="2")(network()), cut="4", head="host")
    assert job.ready.channels == ("2.link_dropout",)
    notes: list[str] = []
    bundle = build(job, output=tmp_path / "d.splitc", note=notes.append)
    assert any("does not stand at the cut" in note for note in notes)
    assert bundle.manifest.route.codec is not None
    assert not bundle.manifest.route.codec.received
    assert bundle.verify().received == ()


def test_verify_and_inspect_tell_of_the_channel(
    erased: tuple[Bundle, list[str]], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path = str(erased[0].path)
    assert run(["verify", path]) == 0
    assert "result 7 over bit_erasure(rate=0.1, bits=8): relative error" in capsys.readouterr().out
    assert run(["verify", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["received"][0]["name"] == "7"
    assert run(["inspect", path]) == 0
    assert f"codec    {ERASURE}, trained over bit_erasure" in capsys.readouterr().out


def labelled(model: TorchModel, tmp_path: Path) -> tuple[Path, Array]:
    """Forty samples with the classes that the given network finds, but for the last ten."""
    x = np.random.default_rng(2).standard_normal((40, 3, 9, 9)).astype(np.float32)
    found = np.array([int(model.run({"input": one[None]})["7"].argmax()) for one in x])
    labels = np.where(np.arange(40) < 30, found, (found + 1) % 10)
    path = tmp_path / "samples.npz"
    np.savez(path, input=x, labels=labels)
    return path, x


def test_a_codec_is_held_against_the_network_that_was_given(tmp_path: Path) -> None:
    model = network()
    path, x = labelled(model, tmp_path)
    batches = read_batches(path, model.graph.inputs)
    labels = read_labels(path, model.graph.inputs, len(batches))
    bundle = splitc.compile(
        model, cut="4", head="host", codec="quantize-boundary(bits=1)", batches=batches,
        labels=labels, output=tmp_path / "q.splitc",
    )  # fmt: skip
    coded = np.stack([bundle.run(one[None])["7"][0] for one in x])
    given = np.stack([model.run({"input": one[None]})["7"][0] for one in x])
    assert bundle.manifest.route.codec is not None
    cost = bundle.manifest.route.codec.cost
    assert cost is not None
    assert (cost.samples, cost.on) == (40, "calibration")
    (one,) = cost.results
    same = int((coded.argmax(1) == given.argmax(1)).sum())
    assert (one.argmax_same, one.argmax_of) == (same, 40)
    apart = np.sqrt(np.square(coded - given).sum() / np.square(given).sum())
    assert one.relative_error == pytest.approx(float(apart), rel=1e-3)
    assert cost.given_accuracy == 0.75
    assert cost.accuracy == pytest.approx(float((coded.argmax(1) == labels).mean()))
    page = (bundle.path / "report.html").read_text("utf-8")
    assert f"<td>{same} of 40</td>" in page


def test_what_a_codec_costs_is_printed_and_so_by_verify(
    small_onnx: Path, tmp_path: Path, capsys: Capture
) -> None:
    x = np.random.default_rng(3).standard_normal((4, 3, 12, 12)).astype(np.float32)
    np.savez(tmp_path / "s.npz", x=x, y=np.zeros(4, np.int64))
    target = str(tmp_path / "q.splitc")
    line = ["compile", str(small_onnx), "--cut", "block_add", "--emit", "onnx", "-o", target]
    line += ["--codec", "quantize-boundary(bits=1)", "--calibrate", str(tmp_path / "s.npz")]
    assert run([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["codec_cost"]
    assert (told["samples"], told["results"][0]["argmax_of"]) == (4, 4)
    assert told["accuracy"] is not None
    assert run(["verify", target]) == 0
    printed = capsys.readouterr().out
    assert "with the codec against the given network, 4 calibration samples" in printed
    assert "accuracy " in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_without_samples_the_golden_ones_say_what_a_codec_costs(
    erased: tuple[Bundle, list[str]],
) -> None:
    codec = erased[0].manifest.route.codec
    assert codec is not None
    assert codec.cost is not None
    assert (codec.cost.on, codec.cost.accuracy) == ("golden", None)


def test_labels_that_fit_no_result_are_refused(tmp_path: Path) -> None:
    model = network()
    path, _ = labelled(model, tmp_path)
    batches = read_batches(path, model.graph.inputs)
    job = plan(
        model, cut="4", head="host", codec="quantize-boundary(bits=4)", batches=batches,
        labels=np.zeros((40, 3), np.int64),
    )  # fmt: skip
    with pytest.raises(UsageError, match="labels fit no result"):
        build(job, output=tmp_path / "q.splitc")
    with pytest.raises(UsageError, match="holds no labels"):
        read_labels(path, model.graph.inputs, 39)


@pytest.mark.parametrize("bits", [3, 8])
def test_a_tail_with_a_decoder_takes_several_frames(bits: int, tmp_path: Path) -> None:
    codec = f"quantize-boundary(bits={bits}, low=-1.0, high=2.0)"
    bundle = splitc.compile(
        network(), cut="4", head="host", codec=codec, batch_sizes=[3], with_whole=True,
        output=tmp_path / "q.splitc",
    )  # fmt: skip
    found = bundle.verify()
    require(found)
    assert found.others.keys() == {"tail-x3", "whole"}
    assert bundle.part("tail-x3").inputs == tuple(
        spec.batched(3) for spec in bundle.part("tail").inputs
    )
