# SPDX-License-Identifier: Apache-2.0
"""Does what ends a detector take less than in onnxruntime: TopK and NonMaxSuppression?

Scores of 8,400 boxes and 80 classes, and 8,400 boxes of one class and of 80. Sides run in turn,
with the same threads, each in its own process; results are held against onnxruntime's, of which
splitc's have more rows, of -1, where the network's are as many as boxes are kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from sides import medians, opened, outputs, write_arrays

import splitc
from common import Others, finish, numbers, parser, said
from splitc.frontend.onnx.bounded import bounded
from splitc.frontend.onnx.model import OnnxModel

BOXES, CLASSES = 8400, 80
BAR = 1.0
BATCH_S = 0.05
"""Seconds of runs of a side in a round."""

Array = np.ndarray[Any, Any]


def model_of(
    op: str, inputs: list[Array], stored: list[Array], results: Sequence[int]
) -> ModelProto:
    """A model of one operator.

    Args:
        op: Its name.
        inputs: What the model is given.
        stored: Its further inputs.
        results: The element types of its results.
    """
    names = [f"x{k}" for k in range(len(inputs))]
    kept = [numpy_helper.from_array(each, f"c{k}") for k, each in enumerate(stored)]
    made = [f"y{k}" for k in range(len(results))]
    node = helper.make_node(op, [*names, *(each.name for each in kept)], made, "op")
    graph = helper.make_graph(
        [node], op.lower(),
        [helper.make_tensor_value_info(n, 1, a.shape) for n, a in zip(names, inputs, strict=True)],
        [helper.make_tensor_value_info(n, t, None) for n, t in zip(made, results, strict=True)],
        kept,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def first(shape: tuple[int, ...], kept: int) -> tuple[ModelProto, list[Array]]:
    """The largest scores of each row, in order."""
    scores = np.random.default_rng(0).random(shape, np.float32)
    results = [TensorProto.FLOAT, TensorProto.INT64]
    return model_of("TopK", [scores], [np.array([kept])], results), [scores]


def suppression(classes: int, most: int, least: float) -> tuple[ModelProto, list[Array]]:
    """Boxes of 8 to 68 pixels in an image of 640, and scores."""
    draw = np.random.default_rng(0)
    centres, sizes = draw.random((1, BOXES, 2)) * 640, draw.random((1, BOXES, 2)) * 60 + 8
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], 2).astype(np.float32)
    inputs = [boxes, draw.random((1, classes, BOXES), np.float32)]
    stored = [np.array([most]), np.array([0.45], np.float32), np.array([least], np.float32)]
    return model_of("NonMaxSuppression", inputs, stored, [TensorProto.INT64]), inputs


CASES: dict[str, tuple[ModelProto, list[Array]]] = {
    "the first 300 of all scores": first((1, BOXES * CLASSES), 300),
    "the first 5 classes of each box": first((BOXES, CLASSES), 5),
    "suppression, one class": suppression(1, 300, 0.25),
    "suppression, 80 classes": suppression(CLASSES, 100, 0.9),
}


def measured(case: str, threads: int, rounds: int, folder: Path) -> dict[str, float]:
    """Median milliseconds of each side."""
    proto, arrays = CASES[case]
    fixed = bounded(splitc.load(proto))
    assert isinstance(fixed, OnnxModel)
    models = {name: folder / f"{name}.onnx" for name in ("splitc", "onnxruntime")}
    for path, each in zip(models.values(), (fixed.proto, proto), strict=True):
        path.write_bytes(each.SerializeToString())
    inputs, part = folder / "inputs.npz", folder / f"{case.replace(' ', '-')}-{threads}"
    write_arrays(inputs, *arrays)
    with ExitStack() as stack:
        sides = opened(stack, threads, models, inputs, part)
        found = outputs(sides, folder)
        for own, right in zip(found["splitc"], found["onnxruntime"], strict=True):
            np.testing.assert_array_equal(own[: len(right)], right)
        return medians(sides, rounds, BATCH_S)


def main() -> None:
    """Measure each case with one thread and with two."""
    made = parser(__doc__ or "")
    made.add_argument("--threads", type=numbers, default=[1, 2], help="such as 1,2")
    options = made.parse_args()
    rounds, around = (5 if options.quick else 25), Others()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            for threads in options.threads:
                times = measured(case, threads, rounds, Path(folder))
                ratio = times["splitc"] / times["onnxruntime"]
                said(f"{case}, {threads} thread{'s' * (threads > 1)}", ratio, BAR)
                print("    " + "  ".join(f"{name} {took:.3f} ms" for name, took in times.items()))
                figures[f"{case}, {threads}"] = {"ratio": ratio, **times}
    print(f"others took {around.share():.0%} of the processors meanwhile")
    finish(figures, options.json)


if __name__ == "__main__":
    main()
