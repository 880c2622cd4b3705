# SPDX-License-Identifier: Apache-2.0
"""Maps cross the link channels-last where both parts' code lays them so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import helper

import splitc
from splitc.backend import Built
from splitc.compiler import build, plan
from splitc.cut import Cut
from splitc.frontend.onnx import OnnxModel
from splitc.frontend.onnx_layout import maps_of
from splitc.golden import seeded_inputs
from splitc.link import Link
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
    assert maps_of(cut) == ()
    assert maps_of(Cut.after(model.graph, ["relu"])) == ("r",)


def test_neither_part_moves_a_map_at_the_cut(small_onnx: Path, tmp_path: Path) -> None:
    model = splitc.load(small_onnx)
    job = plan(model, cut="block_add", head="rpi4", tail="host", link=Link("20Mbit"), name="m")
    built: dict[str, Built] = {}
    bundle = build(job, output=tmp_path / "m.splitc", runtime="none", told=built.__setitem__)
    (crossing,) = bundle.manifest.cut.boundary
    assert crossing.layout == "channels-last"
    n, c, height, width = model.graph.tensors[crossing.name].static_shape
    assert crossing.shape == (n, height, width, c)
    moves = [k for part in built.values() for k in part.kernels if k.op == "layout"]
    assert moves == []
    onnx_parts = build(job, output=tmp_path / "o.splitc", emit="onnx")
    assert onnx_parts.manifest.cut.boundary[0].layout == ""
