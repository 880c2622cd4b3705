# SPDX-License-Identifier: Apache-2.0
"""A user's own times: a table of both sides, and what onnxruntime's profiler writes."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import splitc
from splitc.build.options import ScenarioText
from splitc.cli.app import run
from splitc.cost.board import load_board
from splitc.cost.cost_file import not_measured, read_measured
from splitc.errors import UsageError
from splitc.ir.graph import LayerGraph

DEVICE, SERVER = load_board("rpi4"), load_board("host")
LAYERS = (
    "stem", "stem_relu", "block_conv", "block_relu", "block_add", "pool", "average", "flatten",
    "classifier", "softmax",
)  # fmt: skip
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def graph(small_onnx: Path) -> LayerGraph:
    return splitc.load(small_onnx).graph


def seconds(path: Path, graph: LayerGraph) -> list[dict[str, float]]:
    costs = read_measured(path, DEVICE, SERVER)
    names = [layer.name for layer in graph.layers]
    return [dict(zip(names, cost.seconds(graph), strict=True)) for cost in costs]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_gives_both_sides(separator: str, graph: LayerGraph, tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    rows = [f"{name}{separator}{k}{separator}{k / 8}" for k, name in enumerate(LAYERS)]
    head = separator.join(("layer", "device_ms", "server_ms"))
    path.write_text("\ufeff" + "\r\n".join([head, "", *rows, ""]), "utf-8")
    device, server = seconds(path, graph)
    for k, name in enumerate(LAYERS):
        free = name == "flatten"
        assert device[name] == pytest.approx(0 if free else k / 1e3)
        assert server[name] == pytest.approx(0 if free else k / 8e3)
    text = ScenarioText(measured=str(path)).scenario()
    assert text.head.label == "measured on the device of times.csv"
    assert text.tail.label == "measured on the server of times.csv"
    table = splitc.find_cuts(graph, scenario=text)
    assert table.device.cost.head_s == pytest.approx(sum(device.values()))
    assert table.server.cost.tail_s == pytest.approx(sum(server.values()))


def test_layers_that_were_not_measured_are_predicted_and_named(
    graph: LayerGraph, small_onnx: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "times.csv"
    rows = [f"{name},{'' if name == 'pool' else 1}" for name in LAYERS if name != "stem_relu"]
    path.write_text("\n".join(["name,ms", *rows]))
    head, tail = read_measured(path, DEVICE, SERVER)
    assert not_measured(head, graph) == ("stem_relu", "pool")
    assert not_measured(tail, graph) == ()
    assert tail.label == "predicted from splitc's kernels on host"
    assert run(["cuts", str(small_onnx), "--measured", str(path)]) == 0
    out = capsys.readouterr().out
    assert "Not measured on the device but predicted: stem_relu and 1 more." in out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no table of times"),
        ("layr,device_ms\na,1", "did you mean 'layer'"),
        ("layer,device_ms,ms\na,1,2", "two columns for the device"),
        ("layer,size\na,1", "no table of times"),
        ("layer,ms\n", "has no times"),
        ("layer,ms\na", "a line of 1 cells\n +at: line 2"),
        ("layer,ms\n,1", "times of no layer\n +at: line 2"),
        ("layer,ms\na,1\na,2", "layer 'a' twice\n +at: line 3"),
        ("layer,ms\na,nan", "no time 'nan'"),
        ("layer,ms\na,-1", "no time '-1'"),
        ("layer,ms\na,1e400", "no time '1e400'"),
        ("layer,ms\na,2.5 ms", "no time '2.5 ms'"),
        ('layer,ms\n"a,1', "no table of times"),
        ("layer,ms\n" + "a" * 200_000 + ",1", "no table of times"),
        ("[" * 200_000, "no profile"),
        ('{"a":' * 200_000, "no profile"),
        ('[{"name": 3}]', "no profile"),
        ("[]", "no profile of onnxruntime"),
        ('[{"name":"model_run"},{"cat":"Node","name":"a_kernel_time","dur":-1}]', "no time -1"),
    ],
)
def test_what_is_no_file_of_times_is_refused(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "times"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_measured(path, DEVICE, SERVER)
    assert re.search(why, str(caught.value))


def test_a_layer_that_the_network_has_not_is_named(
    small_onnx: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "times.csv"
    path.write_text("layer,ms\nstem,1\nblock_con,1\n")
    assert run(["cuts", str(small_onnx), "--measured", str(path)]) == 2
    error = capsys.readouterr().err
    assert "it has a layer 'block_con'" in error
    assert "did you mean 'block_conv'" in error
    assert run(["cuts", str(small_onnx), "--measured", str(path), "--profile", str(path)]) == 2
    assert "--measured beside --profile" in capsys.readouterr().err


def profiled(model: Path, folder: Path, level: str, runs: int = 4) -> Path:
    """What onnxruntime writes."""
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / level)
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    session = ort.InferenceSession(str(model), options)
    for _ in range(runs):
        session.run(None, {"x": np.zeros((1, 3, 12, 12), np.float32)})
    return Path(session.end_profiling())


def total_ms(path: Path, change: Callable[[list[float]], float]) -> float:
    took: dict[str, list[float]] = {}
    for event in json.loads(path.read_text()):
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            took.setdefault(event["name"], []).append(event["dur"] / 1e3)
    return sum(change(times[1:]) for times in took.values())


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_ALL"])
def test_what_onnxruntime_measured_is_the_layers_whatever_it_fused(
    level: str, small_onnx: Path, graph: LayerGraph, tmp_path: Path
) -> None:
    path = profiled(small_onnx, tmp_path, level)
    (device, _) = seconds(path, graph)
    head, _ = read_measured(path, DEVICE, SERVER)
    assert not_measured(head, graph) == ()
    assert sum(device.values()) * 1e3 == pytest.approx(total_ms(path, lambda t: sorted(t)[1]), 1e-6)
    if level == "ORT_ENABLE_ALL":
        # A convolution and the activation in it, by their FLOPs.
        assert device["stem"] / device["stem_relu"] == pytest.approx(62_208 / 1_152)


def test_nodes_that_are_no_layers_are_named(
    small_onnx: Path, graph: LayerGraph, tmp_path: Path
) -> None:
    path = profiled(small_onnx, tmp_path, "ORT_DISABLE_ALL")
    path.write_text(path.read_text().replace("block_conv_kernel", "blok_conv_kernel"))
    head, _ = read_measured(path, DEVICE, SERVER)
    with pytest.raises(UsageError, match=r"the network has not\n.*'blok_conv'\n.*'block_conv'"):
        head.seconds(graph)
