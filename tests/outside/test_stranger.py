# SPDX-License-Identifier: Apache-2.0
"""Everything that splitc is extended by, from a pack outside of it, by command line and Python.

docs/extending.md is these tests in words.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import splitc
from splitc.bundle import Bundle
from splitc.cli.app import run
from splitc.errors import UnsupportedOpError, UsageError
from splitc.ir.proof import Heuristic
from tests.helpers import assert_rewrites, model_of, save

pytest.importorskip("torch")

Capture = pytest.CaptureFixture[str]
BEFORE = """
%x = input() : 1x3x8x8
%t = conv(%x) : 1x16x8x8
%y = relu(%t) : 1x16x8x8
"""
AFTER = """
%x = input() : 1x3x8x8
%t = conv(%x) : 1x16x8x8
%t.rain = rain(%t) : 1x16x8x8
%y = relu(%t.rain) : 1x16x8x8
"""


@pytest.fixture(autouse=True)
def somewhere(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def stranger(module: str) -> Any:
    return importlib.import_module(f"stranger.{module}")


def as_json(capsys: Capture, *arguments: str) -> dict[str, Any]:
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_installed_pack_is_found_by_a_new_process(installed: Path) -> None:
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", "from splitc.cli import main; main()", "passes", "--json"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert "rain" in done.stdout


def test_a_pass_rewrites_and_reads_back_from_its_text() -> None:
    rain = splitc.Pipeline.parse('rain(cut="t", loss_db=6.0)').passes[0]
    assert str(rain) == 'rain(cut="t", loss_db=6.0)'
    assert_rewrites(rain, BEFORE, AFTER)
    with pytest.raises(UsageError, match="rain: loss_db=-1 is below 0"):
        splitc.Pipeline.parse('rain(cut="t", loss_db=-1.0)')(
            splitc.GraphModel(splitc.parse_graph(BEFORE))
        )


def test_a_channel_op_is_heard_in_training_and_not_compiled() -> None:
    import torch

    from splitc.build.compiler import plan

    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    x = torch.randn(1, 4)
    model = splitc.load(net, x)
    cut = model.graph.layers[2].name
    rainy = splitc.Pipeline.parse(f'rain(cut="{cut}", loss_db=20.0)')(model)
    plain, heard = rainy.module.eval()(x), rainy.module.train()(x)
    torch.testing.assert_close(plain, net(x))
    torch.testing.assert_close(heard, net[2](net[1](net[0](x)) / 10))
    rainy.module.eval()
    job = plan(rainy, head="rpi4", tail="rpi5")
    assert job.ready.channels == (f"{job.ready.cut.boundary[0].name}.rain",)
    assert "rain" not in {layer.op for layer in job.ready.model.graph.layers}


def test_a_codec_of_the_pack_is_priced_from_the_command_line(
    small_onnx: Path, capsys: Capture
) -> None:
    words = ["cuts", str(small_onnx), "--target", "rpi4", "--tail-target", "rpi5"]
    plain = as_json(capsys, *words)
    rainy = as_json(capsys, *words, "--codec", "rain(loss_db=6.0)")
    latency = {row["cut"]: row["latency_ms"] for row in plain["cuts"]}
    usable = [row for row in rainy["cuts"] if row["rejected"] is None]
    assert usable
    for row in usable:
        free = latency[row["cut"]]
        if row["cut"] == "stem":  # Its activation is no longer computed within its kernel.
            assert free < row["latency_ms"] < 1.01 * free
        else:
            assert row["latency_ms"] == pytest.approx(free)


def test_a_cutter_takes_its_options_from_text(small_onnx: Path, capsys: Capture) -> None:
    model = splitc.load(small_onnx)
    table = splitc.find_cuts(model, head="rpi4", tail="rpi5", cutter="deepest(leave=2)")
    found = table.solution
    assert found is not None
    assert len(model.graph) - len(found.where.cut.head) == 2
    assert isinstance(found.proof, Heuristic)
    assert found.proof.cutter == "deepest(leave=2)"
    words = ["cuts", str(small_onnx), "--target", "rpi4", "--tail-target", "rpi5", "--cutter"]
    assert run([*words, "deepest(leave=2)"]) == 0
    assert run([*words, "deepest(leaves=2)"]) == 2
    assert "has no option 'leaves'" in capsys.readouterr().err
    with pytest.raises(UsageError, match="'deepest' cannot solve this"):
        splitc.find_cuts(model, head="rpi4", tail="rpi5", cutter="deepest", objective="energy")


def test_measured_seconds_take_the_place_of_a_board(small_onnx: Path) -> None:
    model = splitc.load(small_onnx)
    slow = stranger("stopwatch").Stopwatch(splitc.load_board("rpi4"), {"conv": 1.0, "conv3x3": 1.0})
    table = splitc.find_cuts(model, head=slow, tail="rpi5", link="wifi")
    assert "measured by stopwatch on rpi4" in table.costs.label
    convolutions = sum(layer.kind in slow.seconds_of for layer in model.graph.layers)
    assert table.device.cost.head_s == pytest.approx(convolutions)


def test_a_backend_writes_a_part_and_the_bundle_computes_the_same(
    small_onnx: Path, capsys: Capture
) -> None:
    words = ["--target", "rpi4", "--tail-target", "rpi5", "--cut", "block_add"]
    assert run(["compile", str(small_onnx), *words, "--emit", "plain", "-o", "p.splitc"]) == 0
    bundle = Bundle.open("p.splitc")
    assert (bundle.path / "head" / "layers.txt").read_text("utf-8").startswith("%")
    assert bundle.verify().passed
    assert run(["verify", "p.splitc"]) == 0
    mixed = splitc.compile(
        small_onnx, cut="block_add", head="rpi4", tail="rpi5", emit="plain,onnx",
        output="mixed.splitc",
    )  # fmt: skip
    assert (mixed.path / "tail" / "tail.onnx").is_file()
    x = np.ones(splitc.load(small_onnx).graph.inputs[0].static_shape, np.float32)
    for name, array in bundle.run(x).items():
        np.testing.assert_array_equal(array, mixed.run(x)[name])
    capsys.readouterr()
    assert run(["compile", str(small_onnx), "--emit", "plain", "--target", "x86-64-v4"]) == 2
    assert "it is too plain for such a machine" in capsys.readouterr().err


def test_a_loader_keeps_a_part_of_its_format_loaded(small_onnx: Path) -> None:
    bundle = splitc.compile(small_onnx, cut="block_add", head="rpi4", tail="rpi5", emit="plain")
    part = json.loads((bundle.path / "head" / "manifest.json").read_text("utf-8"))
    assert part["format"] == "plain"
    x = np.ones(splitc.load(small_onnx).graph.inputs[0].static_shape, np.float32)
    with bundle.open_parts() as split:
        first, second = split(x), split(x)
    for name, array in splitc.load(small_onnx).run({"x": x}).items():
        np.testing.assert_allclose(first[name], array, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(first[name], second[name])


def test_what_a_backend_cannot_compile_is_refused_by_name(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Tanh", ["r"], ["y"])]
    path = save(model_of(nodes, {"x": [1, 4]}, ["y"]), tmp_path / "tanh.onnx")
    with pytest.raises(UnsupportedOpError, match="cannot be compiled: tanh") as caught:
        splitc.compile(path, head="rpi4", tail="rpi5", emit="plain")
    assert caught.value.why == "it is not plain"


def test_a_board_brings_a_core_that_code_is_made_for(small_onnx: Path, capsys: Capture) -> None:
    from splitc_targets.machine.machine import machine_of

    assert run(["targets"]) == 0
    assert "moon" in capsys.readouterr().out
    assert run(["cuts", str(small_onnx), "--target", "moon", "--tail-target", "rpi5"]) == 0
    moon, known = (machine_of(splitc.load_board(name)) for name in ("moon", "rpi3"))
    assert (moon.fma_per_cycle, moon.l1_bytes, moon.cores) == (1.0, 16384, 2)
    assert (moon.lanes, moon.fma_latency) == (known.lanes, known.fma_latency)


def test_a_converter_is_found_when_a_network_needs_it(tmp_path: Path) -> None:
    import torch

    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Det", ["r"], ["y"])]
    path = save(model_of(nodes, {"x": [2, 3, 3]}, ["y"]), tmp_path / "det.onnx")
    given = splitc.load(path)
    x = np.random.default_rng(0).standard_normal((2, 3, 3)).astype(np.float32)
    (wanted,) = given.run({"x": x}).values()
    made = splitc.to_torch(given)
    np.testing.assert_allclose(made.module(torch.as_tensor(x)), wanted, rtol=1e-5)


def test_a_policy_picks_routes() -> None:
    from splitc.policy import LinkState, Option, Policy

    policy = Policy.parse("thrifty(below_bps=2e6)")
    assert policy == stranger("thrifty").Thrifty(below_bps=2e6)
    options = [Option("big", 0.001, 90_000, 60, 0.001), Option("small", 0.9, 9_000, 6, 0.001)]
    chooser = policy.start(options)
    seen = [LinkState(), LinkState(1e6), LinkState(3e6)]
    assert [chooser.route(state, 1.0) for state in seen] == ["big", "small", "big"]
