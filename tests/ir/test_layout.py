# SPDX-License-Identifier: Apache-2.0
"""Maps cross the link channels-last where both parts' code lays them so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

import splitc
from splitc.build.backend import Built
from splitc.build.compiler import build, plan
from splitc.bundle.golden import seeded_inputs
from splitc.frontend.onnx.model import OnnxModel
from splitc.ir.cut import Cut
from splitc.ir.layout import maps_of
from splitc.link.link import Link
from splitc.runtime.ort import Session
from tests.helpers import model_of, save


def cuts_with_maps(model: OnnxModel) -> list[Cut]:
    """Every legal single cut whose boundary has a map in it."""
    cuts = [Cut.after(model.graph, [layer.name]) for layer in model.graph.layers]
    return [cut for cut in cuts if cut.why_not() is None and maps_of(cut)]


def test_turned_parts_give_what_the_whole_gives(small_onnx: Path) -> None:
    model = splitc.load(small_onnx)
    feed = seeded_inputs(model.graph.inputs, 3)
    whole = model.run(feed)
    cuts = cuts_with_maps(model)
    assert cuts
    for cut in cuts:
        names = maps_of(cut)
        head, tail = model.split(cut, names)
        plain, _ = model.split(cut)
        made = head.run({t.name: feed[t.name] for t in head.graph.inputs})
        straight = plain.run({t.name: feed[t.name] for t in plain.graph.inputs})
        for name in names:
            np.testing.assert_array_equal(made[name], straight[name].transpose(0, 2, 3, 1))
        known = {**feed, **made}
        known |= tail.run({t.name: known[t.name] for t in tail.graph.inputs})
        for name, expected in whole.items():
            np.testing.assert_allclose(known[name], expected, rtol=1e-5, atol=1e-6)


def test_inputs_and_results_of_the_network_are_never_turned(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["early"], "conv"),
        helper.make_node("Relu", ["early"], ["r"], "relu"),
        helper.make_node("Mul", ["r", "scale"], ["late"], "late"),
    ]
    sizes: dict[str, Sequence[int]] = {"x": [1, 3, 8, 8], "scale": [1, 4, 6, 6]}
    proto = model_of(nodes, sizes, ["early", "late"], weights)
    model = splitc.load(save(proto, tmp_path / "m.onnx"))
    cut = Cut.after(model.graph, ["conv"])
    assert {t.name for t in cut.boundary} == {"early", "scale"}
    assert maps_of(cut) == {}
    assert maps_of(Cut.after(model.graph, ["relu"])) == {"r": "channels-last"}


def convolving(name: str, weight: str) -> GraphProto:
    """A body that reads the map `s`, made outside of it."""
    node = helper.make_node("Conv", ["s", weight], [name], name)
    return helper.make_graph([node], name, [], [ValueInfoProto(name=name)])


def passing(name: str) -> GraphProto:
    """A body that gives a map of the outside as it is."""
    node = helper.make_node("Identity", ["s"], [name], name)
    return helper.make_graph([node], name, [], [ValueInfoProto(name=name)])


def branching(name: str) -> GraphProto:
    """A body with a branch in it that reads the map."""
    node = helper.make_node(
        "If", ["night"], [name], name,
        then_branch=convolving(f"{name}_a", "v"), else_branch=convolving(f"{name}_b", "w"),
    )  # fmt: skip
    return helper.make_graph([node], name, [], [ValueInfoProto(name=name)])


def choice(then: GraphProto, other: GraphProto) -> NodeProto:
    return helper.make_node("If", ["night"], ["i"], "i", then_branch=then, else_branch=other)


def loop() -> NodeProto:
    """Adds what it reads outside to what it carries, three times."""
    body = helper.make_graph(
        [
            helper.make_node("Conv", ["s", "w"], ["more"], "more"),
            helper.make_node("Add", ["carried", "more"], ["sum"], "sum"),
            helper.make_node("Identity", ["go"], ["on"], "on"),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, None),
        ],
    )
    return helper.make_node("Loop", ["times", "", "zero"], ["i"], "i", body=body)


def around(node: NodeProto, channels: int) -> ModelProto:
    """A network whose map `s` is read in a node's bodies alone."""
    rng = np.random.default_rng(0)
    weights = {
        "stem": rng.standard_normal((channels, 3, 3, 3)).astype(np.float32),
        "v": rng.standard_normal((channels, channels, 1, 1)).astype(np.float32),
        "w": rng.standard_normal((channels, channels, 1, 1)).astype(np.float32),
        "times": np.array(3, np.int64),
        "zero": np.zeros((1, channels, 6, 6), np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "stem"], ["c"], "c"),
        helper.make_node("Relu", ["c"], ["s"], "s"),
        node,
        helper.make_node("Relu", ["i"], ["y"], "y"),
    ]
    graph = helper.make_graph(
        nodes,
        "around",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8]),
            helper.make_tensor_value_info("night", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("channels", [4, 6])
@pytest.mark.parametrize(
    "make",
    [
        lambda: choice(convolving("a", "v"), convolving("b", "w")),
        lambda: choice(passing("a"), convolving("b", "w")),
        lambda: choice(branching("a"), convolving("b", "w")),
        loop,
    ],
    ids=["branch", "result", "nested", "loop"],
)
def test_bodies_read_a_turned_map_as_the_model_has_it(
    make: Callable[[], NodeProto], channels: int
) -> None:
    proto = around(make(), channels)
    model = splitc.load(proto, simplify=False)
    cut = Cut.after(model.graph, ["s"])
    assert maps_of(cut) == {"s": "channels-last"}
    head, tail = model.split(cut, {"s": "channels-last"})
    rng = np.random.default_rng(1)
    for night in (True, False):
        feed = {"x": rng.standard_normal((1, 3, 8, 8)).astype(np.float32), "night": np.array(night)}
        (right,) = Session(proto.SerializeToString()).run(["y"], feed)
        made = head.run(feed)
        assert made["s"].shape == (1, 6, 6, channels)
        got = tail.run({t.name: {**feed, **made}[t.name] for t in tail.graph.inputs})["y"]
        np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-6)


def test_neither_part_moves_a_map_at_the_cut(small_onnx: Path, tmp_path: Path) -> None:
    model = splitc.load(small_onnx)
    job = plan(model, cut="block_add", head="rpi4", tail="host", link=Link("20Mbit"), name="m")
    built: dict[str, Built] = {}
    bundle = build(job, output=tmp_path / "m.splitc", runtime="none", told=built.__setitem__)
    (crossing,) = bundle.manifest.route.crosses
    assert crossing.layout == "channels-last"
    n, c, height, width = model.graph.tensors[crossing.name].static_shape
    assert crossing.shape == (n, height, width, c)
    moves = [k for part in built.values() for k in part.kernels if k.op == "layout"]
    assert moves == []
    for emit in ("onnx", "tvm,onnx"):
        job = plan(model, cut="block_add", head="rpi4", link=Link("20Mbit"), name="m", emit=emit)
        assert job.default.layouts.get(crossing.name, "") == ""
