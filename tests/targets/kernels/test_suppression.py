# SPDX-License-Identifier: Apache-2.0
"""Detectors that end in NonMaxSuppression: what is kept, against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto

import splitc
from splitc.bundle.bundle import require
from splitc.errors import UnsupportedOpError
from splitc.frontend.onnx.bounded import bounded
from splitc.frontend.onnx.model import OnnxModel
from splitc.runtime.counted import filled_rows, kept_rows, kept_together
from tests.targets.emulated import emulated
from tests.targets.nets import Net, compiled, computed, wanted

Array = np.ndarray[Any, Any]


def boxes_of(net: Net, batch: int, count: int, *, centred: bool = False) -> Array:
    """Boxes of which many overlap: corners in any order, some without an area, some twice."""
    centre = net.rng.random((batch, count, 2)).astype(np.float32) * 20
    size = net.rng.random((batch, count, 2)).astype(np.float32) * 8
    size[:, ::7] = 0
    boxes = (
        np.concatenate([centre, size], 2)
        if centred
        else np.concatenate([centre - size / 2, centre + size / 2], 2)
    )
    if not centred:
        boxes[:, ::5] = boxes[:, ::5][..., [2, 3, 0, 1]]
    boxes[:, -1] = boxes[:, 0]
    return boxes.astype(np.float32)


def suppressing(
    net: Net, boxes: Array, scores: Array, limits: list[Any], **attrs: Any
) -> ModelProto:
    """A network whose result is what is kept."""
    names = [net.input(*a.shape, values=a) for a in (boxes, scores)]
    net.outputs = [net.op("NonMaxSuppression", *names, *limits, **attrs)]
    proto = net.proto()
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    return proto


def assert_kept(net: Net, proto: ModelProto) -> int:
    """The rows are onnxruntime's, and -1 beyond; how many those are."""
    (right,) = wanted(proto, net.inputs)
    model = bounded(splitc.load(proto))
    assert isinstance(model, OnnxModel)
    (kept,) = computed(compiled(model.proto), model.proto, net.inputs)
    (filled,) = wanted(model.proto, net.inputs)
    np.testing.assert_array_equal(kept, filled)
    np.testing.assert_array_equal(kept[: len(right)], right)
    assert (kept[len(right) :] == -1).all()
    return len(right)


LIMITS: dict[str, list[Any]] = {
    "few": [np.array([3]), np.array([0.3], np.float32), np.array([0.2], np.float32)],
    "many": [np.array([100]), np.array([0.6], np.float32), np.array([0.5], np.float32)],
    "any score": [np.array(9), np.array(0.5, np.float32)],
    "no overlap": [np.array([20])],
    "none": [np.array([5]), np.array([0.5], np.float32), np.array([2.0], np.float32)],
}


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("limits", LIMITS)
def test_what_is_kept_is_what_onnxruntime_keeps(limits: str, centred: bool) -> None:
    net = Net(len(limits), opset=13)
    boxes = boxes_of(net, 2, 71, centred=centred)
    scores = net.rng.random((2, 3, 71)).astype(np.float32)
    scores[:, :, ::3] = 0.75  # ties: the first is kept
    proto = suppressing(net, boxes, scores, LIMITS[limits], center_point_box=int(centred))
    assert (assert_kept(net, proto) == 0) == (limits == "none")


def test_a_row_of_thousands() -> None:
    net = Net(1, opset=13)
    boxes, scores = boxes_of(net, 1, 3000), net.rng.random((1, 1, 3000)).astype(np.float32)
    scores[0, 0, :40] = np.float32("nan")
    limits = [np.array([400]), np.array([0.45], np.float32), np.array([0.25], np.float32)]
    assert assert_kept(net, suppressing(net, boxes, scores, limits)) > 50


def test_arm_keeps_the_same(tmp_path: Path) -> None:
    net = Net(2, opset=13)
    boxes, scores = boxes_of(net, 1, 50), net.rng.random((1, 2, 50)).astype(np.float32)
    model = bounded(splitc.load(suppressing(net, boxes, scores, LIMITS["few"])))
    assert isinstance(model, OnnxModel)
    (kept,), _ = emulated(model.proto, "rpi4", list(net.inputs.values()), tmp_path)
    np.testing.assert_array_equal(kept, wanted(model.proto, net.inputs)[0])


def detector() -> ModelProto:
    """A head as YOLO's: two maps of 5 numbers a place, decoded, and the best boxes of them."""
    net = Net(4, opset=13)
    x = net.input(1, 3, 32, 32)
    body = net.op("Relu", net.op("Conv", x, net.random(8, 3, 3, 3) / 5, strides=[4, 4]))
    lower = net.op("Relu", net.op("Conv", body, net.random(8, 8, 3, 3) / 8, strides=[2, 2]))
    flat: list[str] = []
    for features in (body, lower):
        made = net.op("Conv", features, net.random(7, 8, 1, 1))
        flat.append(net.op("Reshape", made, np.array([1, 7, -1])))
    rows = net.op("Transpose", net.op("Concat", *flat, axis=2), perm=[0, 2, 1])
    places, sizes, scores = net.ops("Split", rows, np.array([2, 2, 3]), results=3, axis=2)
    half = net.op("Exp", sizes)
    boxes = net.op("Concat", net.op("Sub", places, half), net.op("Add", places, half), axis=2)
    scores = net.op("Transpose", net.op("Sigmoid", scores), perm=[0, 2, 1])
    kept = net.op("NonMaxSuppression", boxes, scores, *LIMITS["few"])
    net.outputs = [boxes, scores, kept]
    proto = net.proto()
    proto.graph.output[2].type.tensor_type.elem_type = TensorProto.INT64
    return proto


@pytest.mark.parametrize("cut", ["auto", "first relu"])
def test_a_detector_is_cut_compiled_and_verified_whole(cut: str, tmp_path: Path) -> None:
    proto = detector()
    model = splitc.load(proto)
    name = next(x.name for x in model.graph.layers if x.op == "relu") if cut != "auto" else cut
    bundle = splitc.compile(model, cut=name, head="rpi4", output=tmp_path / "d.splitc")
    require(bundle.verify())
    (*_, kept) = bundle.manifest.source.outputs
    assert kept.shape == (9, 3)
    assert bundle.manifest.source.counted == ((kept.name,),)
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32) / 10
    right = wanted(proto, {"x1": x})[2]
    assert 0 < len(right) < 9
    np.testing.assert_array_equal(bundle.run({"x1": x})[kept.name], right)
    # Of several frames at once each has its own number: all have the contract's rows.
    (one, other) = bundle.run({"x1": np.stack([x, np.zeros_like(x)])})[kept.name]
    np.testing.assert_array_equal(one, filled_rows(right, 9))
    np.testing.assert_array_equal(kept_rows(other), wanted(proto, {"x1": np.zeros_like(x)})[2])


def test_rows_of_nothing_are_no_results() -> None:
    rows = np.array([[0, 1, 2], [0, -1, 3]])
    np.testing.assert_array_equal(kept_rows(filled_rows(rows, 5)), rows)
    np.testing.assert_array_equal(kept_rows(rows), rows)
    assert kept_rows(filled_rows(rows[:0], 4)).shape == (0, 3)


def reading(kind: str) -> tuple[ModelProto, Net]:
    """A detector that computes with what it keeps, as exporters write it."""
    net = Net(6, opset=13)
    boxes = net.op("Mul", net.input(1, 40, 4, values=boxes_of(net, 1, 40)), np.array(1, np.float32))
    scores = net.op("Sigmoid", net.input(1, 3, 40))
    limits = [*LIMITS["few"][:2], np.array([0.87], np.float32)]
    kept = net.op("NonMaxSuppression", boxes, scores, *limits)
    column = [net.op("Gather", kept, np.array([k]), axis=1) for k in range(3)]
    place = net.op("Squeeze", column[2], np.array([1]))
    best = net.op("Gather", net.op("Squeeze", boxes, np.array([0])), place, axis=0)
    score = net.op("GatherND", scores, kept)
    label = net.op("Squeeze", net.op("Slice", kept, *map(np.array, ([1], [2], [1]))), np.array([1]))
    flat = net.op("Add", net.op("Mul", column[1], np.array(40)), column[2])
    same = net.op("Gather", net.op("Reshape", scores, np.array([-1])), flat, axis=0)
    ends = {
        "one table": lambda: [net.op(
            "Concat", net.op("Cast", column[0], to=1), best, same,
            net.op("Cast", column[1], to=1), axis=1,
        )],
        "apart": lambda: [best, score, net.op("Sub", label, np.array(1)), kept],
        "flags beside": lambda: [net.op("Greater", score, np.array(0.5, np.float32)), score],
        "flags alone": lambda: [net.op("Greater", score, np.array(0.5, np.float32))],
        "aside": lambda: [net.op("Unsqueeze", best, np.array([0]))],
        "the largest": lambda: [net.op("ReduceMax", best, axes=[0], keepdims=0)],
        "one of them": lambda: [net.op("Gather", best, np.array([0]), axis=0)],
        "how many": lambda: [net.op("Shape", best)],
    }  # fmt: skip
    net.outputs = ends[kind]()
    return net.proto(), net


@pytest.mark.parametrize("kind", ["one table", "apart", "flags beside"])
def test_what_is_computed_of_each_box_kept_has_as_many_rows(kind: str, tmp_path: Path) -> None:
    proto, net = reading(kind)
    bundle = splitc.compile(
        splitc.load(proto), cut="device", head="host", output=tmp_path / "d.splitc"
    )
    require(bundle.verify())
    (names,) = bundle.manifest.source.counted
    assert {*names} == {*net.outputs}
    right = wanted(proto, net.inputs)
    assert 0 < len(right[0]) < 9
    made = bundle.run(net.inputs)
    for name, value in zip(net.outputs, right, strict=True):
        # A sigmoid may be off by a rounding.
        np.testing.assert_allclose(made[name], value, rtol=3e-7)


@pytest.mark.parametrize("after", ["nonmaxsuppression", "add"])
def test_the_boxes_kept_may_cross_to_what_is_computed_of_them(after: str, tmp_path: Path) -> None:
    """Right behind NonMaxSuppression, and among what reads its rows."""
    proto, net = reading("one table")
    model = splitc.load(proto)
    cut = next(layer.name for layer in model.graph.layers if layer.op == after)
    bundle = splitc.compile(model, cut=cut, head="host", output=tmp_path / "d.splitc")
    require(bundle.verify())
    (right,) = wanted(proto, net.inputs)
    assert 0 < len(right) < 9
    # A sigmoid may be off by a rounding.
    np.testing.assert_allclose(bundle.run(net.inputs)[net.outputs[0]], right, rtol=3e-7)


@pytest.mark.slow
def test_what_is_computed_of_each_box_kept_is_so_on_arm(qemu: None, tmp_path: Path) -> None:
    proto, net = reading("one table")
    model = bounded(splitc.load(proto))
    assert isinstance(model, OnnxModel)
    (table,), _ = emulated(model.proto, "rpi4", list(net.inputs.values()), tmp_path)
    (right,) = wanted(model.proto, net.inputs)
    np.testing.assert_allclose(table, right, rtol=3e-7)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("flags alone", "no result of them has signed numbers"), ("aside", "not the first axis"),
        ("the largest", "ReduceMax.* is not computed row by row"),
        ("one of them", "Gather.* is not computed row by row"),
        ("how many", "Shape.* is not computed row by row"),
    ],
)  # fmt: skip
def test_what_computes_across_the_boxes_kept_is_refused_by_name(kind: str, why: str) -> None:
    model = splitc.load(reading(kind)[0])
    with pytest.raises(UnsupportedOpError, match=why) as caught:
        splitc.compile(model, cut="device", head="host")
    assert "NonMaxSuppression" in caught.value.at


def test_results_of_the_same_rows_end_where_all_of_them_do() -> None:
    labels, scores = np.array([-1, 3, -1, -1, -1]), np.array([0.5, 0.25, 0.125, -1, -1])
    made = kept_together([labels, scores])
    np.testing.assert_array_equal(made[0], [-1, 3, -1])
    np.testing.assert_array_equal(made[1], [0.5, 0.25, 0.125])
    assert [len(rows) for rows in kept_together([np.full(3, -1), np.zeros(3, bool)])] == [0, 0]
