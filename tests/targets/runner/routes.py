# SPDX-License-Identifier: Apache-2.0
"""A head of several parts for the runner's tests: one stem, a block behind it, an encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, helper

from splitc.arrays import Array
from splitc.cost.board import load_board
from tests.helpers import model_of
from tests.targets.emulated import build

STEM, BLOCK, CODED = ROUTES = ("stem", "block", "block:pooled")
SPLIT = "ab" * 32


def weights() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {
        "w1": rng.standard_normal((8, 3, 3, 3)).astype(np.float32) / 3,
        "w2": rng.standard_normal((8, 8, 3, 3)).astype(np.float32) / 8,
    }


def models() -> dict[str, ModelProto]:
    """The parts' networks by the parts' names."""
    inner, known = [1, 8, 12, 12], weights()
    stem = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("GlobalAveragePool", ["r1"], ["early"]),
    ]
    block = [
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Add", ["r2", "r1"], ["a1"]),
    ]
    pooled = helper.make_node("MaxPool", ["a1"], ["code"], kernel_shape=[2, 2], strides=[2, 2])
    return {
        "head-s0": model_of(stem, {"x": [1, 3, 12, 12]}, ["r1", "early"], {"w1": known["w1"]}),
        "head-s1": model_of(block, {"r1": inner}, ["a1"], {"w2": known["w2"]}),
        "head-enc2": model_of([pooled], {"a1": inner}, ["code"]),
        "whole": model_of(
            [*stem, *block, pooled], {"x": [1, 3, 12, 12]}, ["r1", "a1", "code", "early"], known
        ),
    }


CROSSES = {
    STEM: ("r1", ("head-s0",)),
    BLOCK: ("a1", ("head-s0", "head-s1")),
    CODED: ("code", ("head-s0", "head-s1", "head-enc2")),
}
"""What crosses on each route, and the parts that run."""


def write_head(folder: Path, board: str) -> Path:
    """All its parts, side by side; gives the first one's folder."""
    specs: dict[str, Any] = {}
    for name, proto in models().items():
        if name == "whole":
            continue
        (folder / name).mkdir()
        build(proto, load_board(board), folder / name)
        manifest = json.loads((folder / name / "manifest.json").read_text("utf-8"))
        specs |= {spec["name"]: spec for spec in manifest["outputs"]}
        edit(folder / name, part=name, split=SPLIT)
    remote = [
        {
            "route": place, "name": route, "crosses": [specs[crosses]],
            "results": [specs["early"] | {"name": "y"}], "outputs": ["early", "y"],
            "runs": runs if len(runs) > 1 else (),
            "expected": {"head_ms": 1 + place, "tail_ms": 1, "link_ms": 0.5},
        }
        for place, (route, (crosses, runs)) in enumerate(CROSSES.items())
    ]  # fmt: skip
    edit(folder / "head-s0", remote=remote)
    return folder / "head-s0"


def edit(folder: Path, **changes: Any) -> None:
    """Change members of a part's manifest."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


def computed(x: Array) -> dict[str, Array]:
    """What the parts make, by onnxruntime."""
    session: Any = onnxruntime.InferenceSession(models()["whole"].SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": x}), strict=True))
