# SPDX-License-Identifier: Apache-2.0
"""Do attention, what ends a detector, and what reads at computed places take less than elsewhere?

Attention of 197 tokens by 6 heads of 64, float32 on all sides, as exporters write it, as ONNX's
operator, and as a ViT has it between two layers: against the better of both. TopK and
NonMaxSuppression over scores of 8,400 boxes and 80 classes, and 8,400 boxes of one class and of
80; sampling by a grid, regions of a map, numbers put at places, and small moves: against
onnxruntime. Sides run in turn, with the same threads, each in its own process;
results are held against onnxruntime's, of which splitc's have more rows, of -1, where the
network's are as many as boxes are kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from sides import medians, opened, outputs, write_arrays

import splitc
from common import Others, finish, numbers, parser, said
from splitc.frontend.onnx.bounded import bounded
from splitc.frontend.onnx.model import OnnxModel

BOXES, CLASSES = 8400, 80
TOKENS, HEADS, WIDTH = 197, 6, 64
BAR = 1.0
ATTENTION_BAR = 0.9
BATCH_S = 0.05
"""Seconds of runs of a side in a round."""

Array = np.ndarray[Any, Any]


def model_of(
    op: str, inputs: list[Array], stored: list[Array], results: Sequence[int], opset: int = 17,
    **attributes: Any,
) -> ModelProto:  # fmt: skip
    """A model of one operator.

    Args:
        op: Its name.
        inputs: What the model is given.
        stored: Its further inputs.
        results: The element types of its results.
        opset: Of the model.
        attributes: The operator's.
    """
    names = [f"x{k}" for k in range(len(inputs))]
    kept = [numpy_helper.from_array(each, f"c{k}") for k, each in enumerate(stored)]
    made = [f"y{k}" for k in range(len(results))]
    node = helper.make_node(op, [*names, *(each.name for each in kept)], made, "op", **attributes)
    kinds = [helper.np_dtype_to_tensor_dtype(array.dtype) for array in inputs]
    graph = helper.make_graph(
        [node], op.lower(),
        [helper.make_tensor_value_info(name, kind, array.shape)
         for name, kind, array in zip(names, kinds, inputs, strict=True)],
        [helper.make_tensor_value_info(n, t, None) for n, t in zip(made, results, strict=True)],
        kept,
    )  # fmt: skip
    return _model(graph, opset)


def _model(graph: GraphProto, opset: int) -> ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


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


PARTS = [
    helper.make_node("Transpose", ["k"], ["turned"], perm=[0, 1, 3, 2]),
    helper.make_node("MatMul", ["q", "turned"], ["products"]),
    helper.make_node("Mul", ["products", "scale"], ["scores"]),
    helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
    helper.make_node("MatMul", ["shares", "v"], ["y"]),
]
"""Attention as exporters write it."""


def attention(nodes: list[NodeProto], opset: int) -> tuple[ModelProto, list[Array]]:
    """Attention of q, k and v, heads apart."""
    draw, shape = np.random.default_rng(0), (1, HEADS, TOKENS, WIDTH)
    scale = numpy_helper.from_array(np.array(WIDTH**-0.5, np.float32), "scale")
    graph = helper.make_graph(
        nodes, "attention", [helper.make_tensor_value_info(name, 1, shape) for name in "qkv"],
        [helper.make_tensor_value_info("y", 1, shape)],
        [scale] if nodes is PARTS else [],
    )  # fmt: skip
    return _model(graph, opset), [draw.standard_normal(shape, np.float32) for _ in "qkv"]


def between_layers() -> tuple[ModelProto, list[Array]]:
    """The same between a layer that makes q, k and v at once and one that reads all heads."""
    stored = {
        "apart": np.array([1, TOKENS, 3, HEADS, WIDTH]), "first": np.array([0]),
        "together": np.array([1, TOKENS, HEADS * WIDTH]), "scale": np.float32(WIDTH**-0.5),
    }  # fmt: skip
    nodes = [
        helper.make_node("Reshape", ["x", "apart"], ["x_apart"]),
        helper.make_node("Transpose", ["x_apart"], ["heads"], perm=[2, 0, 3, 1, 4]),
        helper.make_node("Split", ["heads"], ["q_1", "k_1", "v_1"], axis=0, num_outputs=3),
        *(helper.make_node("Squeeze", [f"{name}_1", "first"], [name]) for name in "qkv"),
        *PARTS,
        helper.make_node("Transpose", ["y"], ["y_heads"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["y_heads", "together"], ["y_together"]),
    ]
    sizes = {"x": (1, TOKENS, 3 * HEADS * WIDTH), "y_together": (1, TOKENS, HEADS * WIDTH)}
    x, y = (helper.make_tensor_value_info(name, 1, size) for name, size in sizes.items())
    kept = [numpy_helper.from_array(np.asarray(data), name) for name, data in stored.items()]
    graph = helper.make_graph(nodes, "attention", [x], [y], kept)
    draw = np.random.default_rng(0)
    return _model(graph, 18), [draw.standard_normal(sizes["x"], np.float32)]


ATTENTION: dict[str, tuple[ModelProto, list[Array]]] = {
    "attention as exporters write it": attention(PARTS, 17),
    "attention as an operator": attention(
        [helper.make_node("Attention", ["q", "k", "v"], ["y"])], 23
    ),
    "attention between two layers": between_layers(),
}


def sampled(channels: int, side: int, mode: str) -> tuple[ModelProto, list[Array]]:
    """A map at the places of a grid of its own size, one in ten beyond its border."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((1, channels, side, side), np.float32)
    grid = draw.uniform(-1.1, 1.1, (1, side, side, 2)).astype(np.float32)
    return model_of("GridSample", [x, grid], [], [TensorProto.FLOAT], 20, mode=mode), [x, grid]


def regions(ratio: int) -> tuple[ModelProto, list[Array]]:
    """200 regions of 16 to 256 pixels of an image, of a map of 256 channels at stride 8."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((1, 256, 80, 80), np.float32)
    first, size = draw.uniform(0, 384, (200, 2)), draw.uniform(16, 256, (200, 2))
    boxes = np.concatenate([first, first + size], 1).astype(np.float32)
    of = np.zeros(200, np.int64)
    made = model_of(
        "RoiAlign", [x, boxes, of], [], [TensorProto.FLOAT], output_height=7, output_width=7,
        spatial_scale=0.125, sampling_ratio=ratio,
    )  # fmt: skip
    return made, [x, boxes, of]


def put(op: str, reduction: str) -> tuple[ModelProto, list[Array]]:
    """Half of 4,000 rows of 64 numbers, each number or each row at a place of its own."""
    draw = np.random.default_rng(0)
    x, new = (draw.standard_normal((n, 64), np.float32) for n in (4000, 2000))
    at = draw.integers(0, 4000, (2000, 64 if op == "ScatterElements" else 1))
    kinds = [TensorProto.FLOAT]
    return model_of(op, [x, at, new], [], kinds, 18, reduction=reduction), [x, at, new]


def moved(op: str, shape: tuple[int, ...]) -> tuple[ModelProto, list[Array]]:
    """An operator of one tensor."""
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    return model_of(op, [x], [], [TensorProto.FLOAT]), [x]


def embedding(rows: int) -> tuple[ModelProto, list[Array]]:
    """Rows of 312 numbers of a stored table of 8,000."""
    draw = np.random.default_rng(0)
    table = numpy_helper.from_array(draw.standard_normal((8000, 312), np.float32), "table")
    at = draw.integers(0, 8000, (1, rows))
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "at"], ["y"], "op")], "embedding",
        [helper.make_tensor_value_info("at", TensorProto.INT64, at.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, rows, 312))], [table],
    )  # fmt: skip
    return _model(graph, 17), [at]


PLACES: dict[str, tuple[ModelProto, list[Array]]] = {
    "sampled linearly, 3 channels": sampled(3, 224, "linear"),
    "sampled linearly, 64 channels": sampled(64, 56, "linear"),
    "sampled nearest, 64 channels": sampled(64, 56, "nearest"),
    "sampled cubically, 64 channels": sampled(64, 56, "cubic"),
    "regions, 4 samples": regions(2),
    "regions, as many samples as pixels": regions(0),
    "elements put": put("ScatterElements", "none"),
    "elements added": put("ScatterElements", "add"),
    "rows put": put("ScatterND", "none"),
    "rows added": put("ScatterND", "add"),
    "hardmax": moved("Hardmax", (32, 1000)),
    "hardmax, small": moved("Hardmax", (1, 100)),
    "trilu": moved("Trilu", (12, 197, 197)),
    "trilu, small": moved("Trilu", (1, 64, 64)),
    "embedding of 8": embedding(8),
    "embedding of 128": embedding(128),
}
"""What reads or writes at places."""

CASES: dict[str, tuple[ModelProto, list[Array]]] = {
    **ATTENTION,
    **PLACES,
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
    others = ["onnxruntime"]
    if case in ATTENTION and find_spec("openvino"):
        others.append("openvino")
    models = {name: folder / f"{name}.onnx" for name in ("splitc", *others)}
    for name, path in models.items():
        path.write_bytes((fixed.proto if name == "splitc" else proto).SerializeToString())
    inputs, part = folder / "inputs.npz", folder / f"{case.replace(' ', '-')}-{threads}"
    write_arrays(inputs, *arrays)
    with ExitStack() as stack:
        sides = opened(stack, threads, models, inputs, part)
        found = outputs(sides, folder)
        for own, right in zip(found["splitc"], found["onnxruntime"], strict=True):
            if case in ATTENTION or case in PLACES:
                # Where a sample lies is itself rounded.
                atol = 3e-5 if case in PLACES else 1e-5
                np.testing.assert_allclose(own, right, rtol=1e-4, atol=atol)
            else:
                np.testing.assert_array_equal(own[: len(right)], right)
        return medians(sides, rounds, BATCH_S)


def main() -> None:
    """Measure each case with one thread and with two."""
    made = parser(__doc__ or "")
    made.add_argument("--threads", type=numbers, default=[1, 2], help="such as 1,2")
    made.add_argument(
        "--cases", type=lambda text: [each for each in CASES if text in each],
        default=list(CASES), help="a part of their names, such as attention",
    )  # fmt: skip
    options = made.parse_args()
    rounds, around = (5 if options.quick else 25), Others()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in options.cases:
            for threads in options.threads:
                times = measured(case, threads, rounds, Path(folder))
                ratio = times["splitc"] / min(times[name] for name in times if name != "splitc")
                bar = ATTENTION_BAR if case in ATTENTION else BAR
                said(f"{case}, {threads} thread{'s' * (threads > 1)}", ratio, bar)
                print("    " + "  ".join(f"{name} {took:.3f} ms" for name, took in times.items()))
                figures[f"{case}, {threads}"] = {"ratio": ratio, **times}
    print(f"others took {around.share():.0%} of the processors meanwhile")
    finish(figures, options.json)


if __name__ == "__main__":
    main()
