# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""`--codec auto`: the cheapest codec that samples show to cost little, against onnxruntime."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto
from PIL import Image

import splitc
from splitc.cli.app import run as main
from splitc.errors import UsageError
from splitc.frontend.onnx.model import OnnxModel
from splitc.ir.proof import Heuristic
from splitc.ir.text import parse_graph
from splitc.passes.at_cut import prepare
from splitc.search.codec_choice import Tried
from splitc.search.table import CutTable
from splitc.search.untrained import cheapest_first
from tests.helpers import save, shared, small_network, two_headed_network

SIZE = 16
CONDITIONS: dict[str, Any] = {
    "head": "rpi3", "tail": "x86-64-v3", "link": splitc.Link("200kbit", rtt="1ms"),
    "server_input": "tensor", "pins": {"pool": "tail"},
}  # fmt: skip

UNPINNED: dict[str, Any] = {**CONDITIONS, "pins": {}}


def samples() -> np.ndarray[Any, Any]:
    """Images of several colours; one bright point widens what a codec has to cover."""
    rng = np.random.default_rng(3)
    colours = rng.standard_normal((24, 3, 1, 1)) * 2
    images = colours + rng.standard_normal((24, 3, SIZE, SIZE)) * 0.3
    images[5, :, 4, 4] = 60
    return images.astype(np.float32)


@pytest.fixture(name="files", scope="module")
def fixture_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("auto")
    np.savez(folder / "samples.npz", x=samples())
    network = save(small_network(size=SIZE), folder / "small.onnx")
    return str(network), str(folder / "samples.npz")


def table_of(files: tuple[str, str], **more: Any) -> CutTable:
    model = splitc.load(files[0])
    given: dict[str, Any] = {"codec": "auto", "calibrate": files[1], **CONDITIONS, **more}
    return splitc.find_cuts(model, **given)


def run(proto: ModelProto, **feed: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return [np.asarray(one) for one in session.run(None, feed)]


def agreement(model: OnnxModel, one: Tried, bits: int) -> float:
    """The share of samples with the same arg-max, levels made in numpy between two sessions."""
    cut = one.coded.row.cut
    head, tail = model.split(cut)
    (crossing,) = (t.name for t in cut.boundary)
    sent = [run(head.proto, x=image[None])[0] for image in samples()]
    low, high = min(map(np.min, sent)), max(map(np.max, sent))
    step = (high - low) / (2**bits - 1)
    same = 0
    for image, values in zip(samples(), sent, strict=True):
        received = (np.floor((values - low) / step + 0.5) * step + low).astype(np.float32)
        (coded,) = run(tail.proto, **{crossing: received})
        (given,) = run(model.proto, x=image[None])
        same += int(coded.argmax() == given.argmax())
    return same / len(samples())


def test_what_each_costs_is_what_onnxruntime_finds_and_the_first_that_keeps_the_limit_is_taken(
    files: tuple[str, str],
) -> None:
    model = splitc.load(files[0])
    assert isinstance(model, OnnxModel)
    table = table_of(files, max_drop="10%")
    choice = table.choice
    assert choice is not None
    assert choice.measure == "arg-max"
    assert [one.kept for one in choice.tried] == [False] * (len(choice.tried) - 1) + [True]
    assert len(choice.tried) > 1
    for one in choice.tried:
        lost = 1 - agreement(model, one, one.coded.bits)
        assert (lost <= 0.1) == one.kept
        if one.samples == choice.samples:
            assert one.drop == pytest.approx(lost)


def test_tried_are_the_cheapest_and_the_table_keeps_the_one_that_was_taken(
    files: tuple[str, str],
) -> None:
    table = table_of(files, max_drop=0.1)
    choice = table.choice
    assert choice is not None
    plain = table_of(files, codec=None)
    order = cheapest_first(plain.problem, [row.cut for row in plain.rows], most=10**9)
    for one, other in zip(choice.tried, order, strict=False):
        assert plain.value(one.coded.row) == plain.value(other.row)
    taken = choice.taken
    assert taken is not None
    assert table.wanted == taken.row.cut
    assert str(table.problem.codec) == str(taken.codec)
    assert all(table.value(row) >= table.value(taken.row) for row in table.usable)
    assert table.solution is not None
    assert isinstance(table.solution.proof, Heuristic)
    assert f"{len(choice.tried) - 1} cheaper ones cost more" in table.solution.proof.why


def test_a_limit_that_none_keeps_leaves_the_split_without_a_codec(
    files: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitc.search.untrained.WIDTHS", (4,))
    table, plain = table_of(files, max_drop=0.0), table_of(files, codec=None)
    choice = table.choice
    assert choice is not None
    assert choice.taken is None
    assert choice.tried
    assert table.problem.codec is None
    assert table.wanted == plain.wanted


def test_no_codec_is_tried_that_costs_more_than_sending_all(files: tuple[str, str]) -> None:
    quick = splitc.Link("10Gbit", rtt="1ms")
    table = table_of(files, link=quick)
    assert table.choice is not None
    assert table.choice.tried == ()
    assert table.problem.codec is None


def test_results_without_classes_are_held_by_their_relative_error(tmp_path: Path) -> None:
    model = splitc.load(save(two_headed_network(), tmp_path / "two.onnx"))
    rng = np.random.default_rng(0)
    feeds = [
        {t.name: rng.standard_normal(t.static_shape).astype(np.float32) for t in model.graph.inputs}
        for _ in range(3)
    ]
    table = splitc.find_cuts(model, codec="auto", calibrate=feeds, max_drop=0.5, link="lte")
    assert table.choice is not None
    shape = model.graph.output_tensors[0].static_shape
    assert table.choice.measure == ("arg-max" if len(shape) <= 2 else "relative error")


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"codec": "auto"}, "without samples"),
        ({"codec": "auto", "calibrate": "absent.npz"}, "absent.npz"),
        ({"codec": "auto", "max_drop": 2.0}, "not in 0 to 1"),
        ({"max_drop": 0.1}, "without codec auto"),
    ],
)
def test_what_it_needs_is_said(files: tuple[str, str], given: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        splitc.find_cuts(splitc.load(files[0]), **given)


def test_a_layer_graph_has_no_weights_to_measure_with() -> None:
    graph = parse_graph("%x = input() : 1x8\n%a = relu(%x) : 1x8\n%y = relu(%a) : 1x8")
    with pytest.raises(UsageError, match="auto.*\n.*no weights"):
        splitc.find_cuts(graph, codec="auto")


def test_the_command_line_prints_what_was_tried(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--target", "rpi3", "--bandwidth", "200kbit", "--pin", "pool=tail"]
    asked = ["cuts", files[0], *flags, "--server-input", "tensor", "--codec", "auto"]
    assert main([*asked]) == 2
    assert "--calibrate" in capsys.readouterr().err
    asked += ["--calibrate", files[1], "--max-drop", "10%"]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert ": taken" in said
    assert "another arg-max in" in said
    assert main([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["choice"]["tried"][-1]["kept"]
    assert told["codec"] == told["choice"]["tried"][-1]["codec"]
    assert told["untrained"] is None


def test_a_bundle_gets_the_codec_that_was_taken(files: tuple[str, str], tmp_path: Path) -> None:
    asked = [
        "compile", files[0], "--target", "rpi3", "--bandwidth", "200kbit", "--emit", "onnx",
        "--runtime", "none", "--no-check", "--codec", "auto", "--calibrate", files[1],
        "--max-drop", "10%", "--pin", "pool=tail", "-o", str(tmp_path / "auto.splitc"), "--quiet",
    ]  # fmt: skip
    assert main(asked) == 0
    manifest = splitc.Bundle.open(tmp_path / "auto.splitc").manifest
    codec = manifest.route.codec
    assert codec is not None
    assert codec.pipeline.startswith("quantize-boundary(")
    assert codec.cost is not None
    (result,) = codec.cost.results
    assert 1 - result.argmax_same / result.argmax_of <= 0.1
    assert isinstance(manifest.route.proof, Heuristic)
    assert main([*asked, "--bits", "4"]) == 2


def test_python_compiles_with_it_and_the_bundle_lists_the_samples(
    files: tuple[str, str], tmp_path: Path
) -> None:
    bundle = splitc.compile(
        files[0], codec="auto", calibrate=files[1], output=tmp_path / "auto.splitc", emit="onnx",
        runtime="none", check=False, head="rpi3", link="3g", pins={"pool": "tail"},
    )  # fmt: skip
    assert bundle.manifest.route.codec is not None
    record = json.loads((bundle.path / "build.json").read_text("utf-8"))
    assert "samples.npz" in json.dumps(record)


def test_a_trained_network_keeps_its_classes_with_the_codec_that_is_taken() -> None:
    model = splitc.load(shared("onnx/cifar10/cifar_base.onnx"), simplify=False)
    (entry,) = model.graph.inputs
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    with zipfile.ZipFile(shared("cifar10/cifar10_test_webp.zip")) as packed:
        names = sorted(name for name in packed.namelist() if name.endswith(".webp"))
        strip = np.asarray(Image.open(io.BytesIO(packed.read(names[0]))).convert("RGB"))
    images = (strip.reshape(-1, 32, 32, 3)[:32].astype(np.float32) / 255 - mean) / 0.225
    feeds = [{entry.name: np.ascontiguousarray(image.transpose(2, 0, 1)[None])} for image in images]
    table = splitc.find_cuts(model, codec="auto", calibrate=feeds, max_drop=0.05, **UNPINNED)
    choice = table.choice
    assert choice is not None
    taken = choice.taken
    assert taken is not None
    coded = prepare(model, taken.row.cut, taken.codec, feeds).model
    same = [coded.run(feed)[name].argmax() == model.run(feed)[name].argmax()
            for feed in feeds for name in model.graph.outputs[:1]]  # fmt: skip
    assert choice.tried[-1].drop == pytest.approx(1 - np.mean(same))
    assert np.mean(same) >= 0.95
