# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Forms of operators that TVM's front end misreads give what onnxruntime or onnx gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.version_converter
import pytest
from onnx import ModelProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from splitc_targets.source.for_tvm import MODERN_OPSET, for_tvm, modern
from tests.targets.nets import compiled, computed, wanted

F32 = np.float32


def draw(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(dtype)


def network(
    op: str, inputs: list[Any], *, opset: int, results: int = 1,
    given: tuple[int, ...] = (0,), **attributes: Any,
) -> tuple[ModelProto, dict[str, Any]]:  # fmt: skip
    """One operator; the inputs named in `given` are handed in, others stored or left out."""
    names = ["" if a is None else f"i{k}" for k, a in enumerate(inputs)]
    outs = [f"y{k}" for k in range(results)]
    feed = {names[k]: np.asarray(inputs[k]) for k in given}
    graph = helper.make_graph(
        [helper.make_node(op, names, outs, "subject", **attributes)], "form",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
         for n, a in feed.items()],
        [helper.make_empty_tensor_value_info(n) for n in outs],
        [numpy_helper.from_array(np.asarray(a), n)
         for n, a in zip(names, inputs, strict=True) if n and n not in feed],
    )  # fmt: skip
    imports = [helper.make_opsetid("", opset)]
    made = helper.make_model(graph, opset_imports=imports, ir_version=10)
    return onnx.shape_inference.infer_shapes(made, data_prop=True), feed


def assert_right(op: str, inputs: list[Any], *, opset: int = 21, **rest: Any) -> None:
    """The results are onnxruntime's."""
    proto, feed = network(op, inputs, opset=opset, **rest)
    for got, want in zip(computed(compiled(proto), proto, feed), wanted(proto, feed), strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_a_row_shrinks_by_averages() -> None:
    row = np.array([0, 1, 4, 9], F32).reshape(1, 1, 1, 4)
    proto, feed = network(
        "Resize", [row, None, None, np.array([1, 1, 1, 2])], opset=18, mode="linear", antialias=1
    )
    (got,) = computed(compiled(proto), proto, feed)
    np.testing.assert_allclose(got.ravel(), [0.875, 6.125])


PLACES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "asymmetric")
SCALES = ([1, 1, 2, 3], [1, 1, 0.5, 0.6], [1, 1, 1.5, 1.7], [1, 1, 0.4, 2.3], [2, 3, 1, 2])


@pytest.mark.parametrize("more", [
    {"mode": "linear"}, {"mode": "linear", "antialias": 1}, {"mode": "cubic"},
    {"mode": "cubic", "antialias": 1}, {"mode": "cubic", "exclude_outside": 1},
    {"mode": "cubic", "cubic_coeff_a": -0.5}, {"mode": "nearest"},
    {"mode": "nearest", "nearest_mode": "floor"}, {"mode": "nearest", "nearest_mode": "ceil"},
    {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("places", PLACES)
def test_resize_by_scales(places: str, more: dict[str, Any]) -> None:
    for scales in SCALES[:4] if more["mode"] != "nearest" else SCALES:
        if places == "half_pixel_symmetric" and more.get("nearest_mode") == "floor":
            continue  # on ties, where one rounding of 32 bits decides
        assert_right(
            "Resize", [draw(1, 1, 5, 4), None, np.array(scales, F32)], opset=19,
            coordinate_transformation_mode=places, **more,
        )  # fmt: skip


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_of_opset_10_takes_what_lies_behind_where_it_shrinks(mode: str) -> None:
    for scales in ([1, 1, 0.6, 0.6], [1, 1, 0.6, 1], [1, 1, 2, 0.4], [1, 1, 3, 1.5]):
        assert_right("Resize", [draw(1, 2, 5, 4), np.array(scales, F32)], opset=10, mode=mode)
    scales = np.array([1, 1, 0.7, 0.3], F32)  # 7 / 0.7 is 10, not a little more
    assert_right("Resize", [draw(1, 1, 13, 17), scales], opset=10, mode=mode)


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
@pytest.mark.parametrize("axes", [[2, 3], [3, 2]])
def test_resize_of_some_axes_that_keeps_proportions(policy: str, axes: list[int]) -> None:
    for sizes in ([7, 8], [3, 2]):
        assert_right(
            "Resize", [draw(1, 2, 5, 4), None, None, np.array(sizes)], opset=19, mode="linear",
            axes=axes, keep_aspect_ratio_policy=policy,
        )  # fmt: skip


def test_resize_of_a_region_and_with_empty_scales() -> None:
    roi = np.array([0, 0, 0.2, 0.1, 1, 1, 0.8, 1.2], F32)
    assert_right(
        "Resize", [draw(1, 2, 4, 5), roi, None, np.array([1, 2, 3, 6])], opset=19, mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=7.0,
    )  # fmt: skip
    empty = np.zeros(0, F32)
    assert_right(
        "Resize", [draw(1, 2, 4, 5), empty, empty, np.array([1, 2, 8, 10])], opset=11,
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.25])
@pytest.mark.parametrize("ratio", [0, 1, 2])
@pytest.mark.parametrize("places", ["half_pixel", "output_half_pixel"])
def test_regions_are_aligned_after_they_are_scaled(scale: float, ratio: int, places: str) -> None:
    rois = np.array([[1, 1, 5, 5], [0, 0, 3.5, 7], [2, 1, 2.2, 1.5]], F32)
    assert_right(
        "RoiAlign", [draw(2, 2, 8, 8), rois, np.array([0, 1, 0])], opset=16, given=(0, 1),
        coordinate_transformation_mode=places, sampling_ratio=ratio, spatial_scale=scale,
        output_height=2, output_width=3,
    )  # fmt: skip


def test_a_transposed_convolution_of_a_given_length() -> None:
    x = np.array([1, 2, 3, 4], F32).reshape(1, 1, 4)
    w = np.array([1, 10, 100], F32).reshape(1, 1, 3)
    proto, feed = network(
        "ConvTranspose", [x, w], opset=21, strides=[2], pads=[0, 1], output_shape=[8]
    )
    (got,) = computed(compiled(proto), proto, feed)
    assert got.ravel().tolist() == [10, 102, 20, 203, 30, 304, 40, 400]


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_layers_that_pad_by_themselves(auto: str, kernel: int, stride: int) -> None:
    x, how = draw(1, 4, 7), {"auto_pad": auto, "strides": [stride]}
    assert_right("ConvTranspose", [x, draw(4, 3, kernel)], **how)
    assert_right("Conv", [x, draw(4, 2, kernel)], group=2, **how)
    for op in ("MaxPool", "AveragePool", "LpPool"):
        assert_right(op, [x], opset=22, kernel_shape=[kernel], **how)


@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads"), [(3, 2, [1, 1]), (2, 3, [0, 0]), (4, 3, [1, 2])]
)
def test_norms_of_windows(ceil: int, kernel: int, stride: int, pads: list[int]) -> None:
    for p in (1, 2, 3):
        assert_right("LpPool", [draw(1, 2, 8)], opset=22, kernel_shape=[kernel], strides=[stride],
                     pads=pads, ceil_mode=ceil, p=p)  # fmt: skip


def test_batch_normalization_learns_its_statistics() -> None:
    stored = [draw(3), draw(3), draw(3), np.abs(draw(3)) + 0.5]
    assert_right("BatchNormalization", [draw(2, 3, 4), *stored], opset=15, results=3,
                 training_mode=1, momentum=0.8)  # fmt: skip


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_normalizations_over_several_axes(axis: int) -> None:
    x = draw(2, 3, 4)
    whole = draw(*x.shape[axis % 3 :])
    for scale in (whole, draw(1)):
        assert_right("LayerNormalization", [x, scale], results=3, axis=axis, epsilon=0.01)
        assert_right("RMSNormalization", [x, scale], opset=23, axis=axis, epsilon=0.01)


@pytest.mark.parametrize("size", [(4, 1, 1), (1,), (3, 5), (4, 3, 1)])
def test_layer_normalisation_is_scaled_by_what_is_smaller(size: tuple[int, ...]) -> None:
    assert_right("LayerNormalization", [draw(2, 4, 3, 5), draw(*size), draw(*size)], axis=1)


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_responses_over_bands_of_any_width(size: int) -> None:
    x = draw(2, 6, 3, 2)
    proto, feed = network("LRN", [x], opset=13, size=size, alpha=0.1, beta=0.6, bias=1.3)
    (got,) = computed(compiled(proto), proto, feed)
    first, last = (size - 1) // 2, size // 2
    sums = np.stack(
        [(x[:, max(0, c - first) : c + last + 1] ** 2).sum(1) for c in range(6)], axis=1
    )
    np.testing.assert_allclose(got, x / (1.3 + 0.1 / size * sums) ** 0.6, rtol=1e-5)


@pytest.mark.parametrize("kinds", [("float32", "int64"), ("int32", "float32"), ("int64", "int64")])
def test_powers_of_integers_and_of_two_types(kinds: tuple[str, str]) -> None:
    base, exponent = np.array([1, 2, -3, 5], kinds[0]), np.array([3, 0, 2, 1], kinds[1])
    assert_right("Pow", [base, exponent], opset=15, given=(0, 1))


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_infinities_of_one_sign(low: int, high: int) -> None:
    x = np.array([1, np.inf, -np.inf, np.nan], F32)
    assert_right("IsInf", [x], detect_negative=low, detect_positive=high)


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_bounds_of_truth_values(op: str) -> None:
    assert_right(op, [draw(2, 4) > 0, np.array([1])], opset=20)


@pytest.mark.parametrize("op", ["ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum"])
def test_reductions_over_no_axes_change_each_element(op: str) -> None:
    assert_right(op, [np.abs(draw(2, 4)) + 1], opset=18, noop_with_empty_axes=1)


@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("kind", ["int64", "int32", "float32"])
def test_one_hot_counts_from_the_end_and_finds_nothing_beyond(kind: str, axis: int) -> None:
    places, depth = np.array([0, -1, 7, 2, -4], kind), np.array([3], kind)
    assert_right("OneHot", [places, depth, np.array([5, 2], F32)], axis=axis)


@pytest.mark.parametrize("given", [(0,), (0, 1)])
@pytest.mark.parametrize("time", [0, 1])
def test_sequences_of_several_lengths_are_turned(time: int, given: tuple[int, ...]) -> None:
    x, lengths = draw(5, 3, 2) if time == 0 else draw(3, 5, 2), np.array([2, 5, 1])
    assert_right("ReverseSequence", [x, lengths], given=given, time_axis=time, batch_axis=1 - time)


def test_one_hot_finds_nothing_between_two_places() -> None:
    places = np.array([0, 0.5, 1.75, -0.25, 2], F32)
    assert_right("OneHot", [places, np.array([3], F32), np.array([5, 2], F32)])


@pytest.mark.parametrize("value", [-1.5, 0.0, 2.0])
def test_rectifiers_of_a_number_without_axes(value: float) -> None:
    x = np.array(value, F32)
    assert_right("Celu", [x], alpha=0.5)
    assert_right("PRelu", [x, np.array(0.25, F32)])


@pytest.mark.parametrize("shape", [(1, 2, 5), (1, 2, 5, 3), (1, 2, 5, 3, 4)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_one_place_from_corner_to_corner_is_the_first(shape: tuple[int, ...], mode: str) -> None:
    sizes = np.array([*shape[:2], 1, *shape[3:]], np.int64)
    assert_right(
        "Resize", [draw(*shape), None, None, sizes], mode=mode,
        coordinate_transformation_mode="align_corners",
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_blocks_become_channels(mode: str) -> None:
    proto, feed = network("SpaceToDepth", [draw(1, 2, 4, 6)], opset=28, blocksize=2, mode=mode)
    (got,) = computed(compiled(proto), proto, feed)
    (want,) = ReferenceEvaluator(proto).run(None, feed)
    np.testing.assert_array_equal(got, want)


def test_pads_below_zero_cut_off() -> None:
    assert_right("Pad", [draw(4, 5), np.array([-1, 1, 0, -2])], opset=19)
    assert_right("ThresholdedRelu", [np.array([-np.inf, -1, 0.5, 2], F32)], alpha=0.7)


def test_a_tensor_is_inserted_before_the_last_and_a_short_piece_comes_last() -> None:
    pieces = helper.make_node("SplitToSequence", ["x", "two"], ["pieces"], "split", axis=0)
    insert = helper.make_node("SequenceInsert", ["pieces", "x", "last"], ["more"], "insert")
    joined = helper.make_node("ConcatFromSequence", ["more"], ["y"], "join", axis=0)
    x = draw(7, 2)
    graph = helper.make_graph(
        [pieces, insert, joined], "sequence",
        [helper.make_tensor_value_info("x", 1, x.shape)],
        [helper.make_tensor_value_info("y", 1, [14, 2])],
        [numpy_helper.from_array(np.array(n), name) for n, name in ((5, "two"), (-1, "last"))],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (got,), (want,) = computed(compiled(proto), proto, {"x": x}), wanted(proto, {"x": x})
    np.testing.assert_array_equal(got, want)


def test_a_model_that_needs_no_other_form_is_not_copied() -> None:
    proto, _ = network("Relu", [draw(2, 3)], opset=21)
    assert for_tvm(proto).proto is proto


def test_weights_are_no_burden_to_the_conversion_and_come_through_it() -> None:
    weights = draw(64, 64)
    scales = np.array([1, 1, 2, 2], F32)
    inputs = [draw(1, 64, 4, 4), weights.reshape(64, 64, 1, 1)]
    model, _ = network("Conv", inputs, opset=9)
    model.graph.initializer.append(numpy_helper.from_array(scales, "scales"))
    graph = model.graph
    graph.node.append(helper.make_node("Upsample", ["y0", "scales"], ["up"], "up", mode="nearest"))
    del graph.output[:]
    graph.output.append(helper.make_empty_tensor_value_info("up"))
    whole = onnx.version_converter.convert_version(model, MODERN_OPSET)
    made = modern(model)
    assert [n.op_type for n in made.graph.node] == [n.op_type for n in whole.graph.node]
    assert [value.name for value in made.graph.input] == ["i0"]
    stored = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    np.testing.assert_array_equal(stored["i1"], inputs[1])
    assert {t.name for t in whole.graph.initializer} == stored.keys()
