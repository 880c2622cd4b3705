# SPDX-License-Identifier: Apache-2.0
"""How differences from a reference are measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

import splitc
from splitc.build.compiler import build, plan
from splitc.bundle.difference import LOOSEST_TOLERANCE, difference, quantised_difference, worst_of
from splitc.bundle.golden import seeded_inputs
from splitc.bundle.samples import samples_of
from splitc.ir.graph import Tensor

REFERENCE = np.array([[0.0, 1.0, 4.0]], np.float32)


def test_the_error_is_relative_to_the_references_range() -> None:
    found = difference("y", REFERENCE + np.array([[0, 0.004, 0]], np.float32), REFERENCE)
    assert found.relative == pytest.approx(1e-3, rel=1e-4)
    assert found.same_argmax
    assert found.within(2e-3)
    assert not found.within(1e-4)


def test_another_arg_max_is_never_within_the_tolerance() -> None:
    reference = np.array([[1.0, 1.00001, 0.0]], np.float32)
    found = difference("y", reference[:, [1, 0, 2]], reference)
    assert found.relative < 1e-4
    assert not found.within(1e-3)


@pytest.mark.parametrize(
    "got",
    [
        REFERENCE[0],
        REFERENCE.astype(np.float64),
        np.array([[0.0, np.nan, 4.0]], np.float32),
        np.array([[0.0, np.inf, 4.0]], np.float32),
    ],
)
def test_other_shapes_dtypes_and_unfinite_values_are_infinitely_far(got: np.ndarray) -> None:  # type: ignore[type-arg]
    assert difference("y", got, REFERENCE).relative == float("inf")


def test_infinities_in_the_same_places_are_equal() -> None:
    values = np.array([-np.inf, 1.0, 2.0], np.float32)
    assert difference("y", values, values).within(0)


def test_a_mask_of_the_least_number_is_one_of_minus_infinity() -> None:
    least = np.finfo(np.float32).min
    reference = np.array([1, 2, least, 3], np.float32)
    got = np.array([1, 2, -np.inf, 3], np.float32)
    assert difference("y", got, reference).within(0)
    assert difference("y", reference, got).within(0)
    # Neither is a magnitude beside which nothing else is wrong.
    assert not difference("y", got + np.array([0.1, 0, 0, 0], np.float32), reference).within(1e-2)
    assert difference("y", -got, reference).relative == float("inf")


def test_a_step_of_its_type_is_no_error_of_a_result_that_is_nearly_constant() -> None:
    reference = np.array([100, 100.0625, 100.125], np.float16)
    got = reference[[1, 1, 2]]
    assert difference("y", got, reference, LOOSEST_TOLERANCE).within(LOOSEST_TOLERANCE)
    far = reference + np.float16(0.5)
    assert not difference("y", far, reference, LOOSEST_TOLERANCE).near(LOOSEST_TOLERANCE)
    fine = reference.astype(np.float32)
    assert not difference("y", got.astype(np.float32), fine).near(1e-3)


def test_integers_must_be_equal() -> None:
    values = np.array([1, 2, 3])
    assert difference("y", values, values).within(0)
    assert not difference("y", values + 1, values).within(1e-3)


def test_a_constant_reference_is_measured_by_its_magnitude() -> None:
    reference = np.full((4,), 10.0, np.float32)
    assert difference("y", reference * np.float32(1.01), reference).relative == pytest.approx(
        0.01, rel=1e-3
    )


def test_seeded_inputs_fit_their_contract_and_depend_on_the_seed() -> None:
    tensors = [Tensor("f", (2, 3)), Tensor("i", (4,), "int64"), Tensor("b", (), "bool")]
    first, again, other = (seeded_inputs(tensors, seed) for seed in (0, 0, 1))
    for tensor in tensors:
        assert first[tensor.name].shape == tensor.shape
        assert first[tensor.name].dtype == tensor.dtype
        np.testing.assert_array_equal(first[tensor.name], again[tensor.name])
    assert not np.array_equal(first["f"], other["f"])


def test_levels_that_were_rounded_the_other_way_are_near_and_others_are_not() -> None:
    levels = np.random.default_rng(0).integers(1, 255, (1, 40, 50)).astype(np.uint8)
    assert quantised_difference("t", levels, levels).relative == 0
    few = levels.copy()
    few[0, ::8, ::8] += 1
    near = quantised_difference("t", few, levels)
    assert near.relative == pytest.approx(5 * 7 / 2000 / 255)
    assert near.relative < 1e-3
    half = levels.copy()
    half[0, ::2] -= 1
    assert quantised_difference("t", half, levels).relative > 1e-3
    assert quantised_difference("t", levels[..., :-1], levels).relative == float("inf")
    assert quantised_difference("t", levels.astype(np.int8), levels).relative == float("inf")


def test_one_packed_byte_of_a_small_tensor_never_decides() -> None:
    packed = np.zeros((1, 16), np.uint8)
    one, two = packed.copy(), packed.copy()
    one[0, 3] = 128
    two[0, 3:5] = 128
    assert quantised_difference("t", one, packed).relative < 1e-3
    assert quantised_difference("t", two, packed).relative > 1e-3


def test_images_are_tried_with_both_ranges_of_pixels_beside_normal_numbers() -> None:
    for shape in ((1, 3, 16, 16), (1, 16, 16, 3), (2, 1, 9, 8), (4, 12, 12)):
        drawn = [s.arrays["x"] for s in samples_of([Tensor("x", shape)], {}, 0)]
        normal, unit, pixels = drawn
        assert normal.min() < -1
        assert normal.max() > 1
        assert (unit.min(), unit.max()) == (0, 1)
        assert (pixels.min() >= 0, pixels.max()) == (True, 255)
        np.testing.assert_array_equal(pixels, np.round(pixels))
        # Saturated: neighbours are equal, as ties of a pool or an arg-max are.
        assert (pixels[..., 0, 0, 0] == 255).all() if len(shape) > 3 else (pixels[0, 0, 0] == 255)


def test_other_numbers_are_tried_with_ties_zeros_and_both_signs() -> None:
    normal, halves, unit = (
        s.arrays["x"] for s in samples_of([Tensor("x", (1, 40, 30), "float64")], {}, 0)
    )
    assert normal.dtype == np.float64
    assert set(np.unique(halves)) == set(np.arange(-8, 9) / 2)
    assert unit.min() >= 0
    assert not np.array_equal(normal, unit)


def test_indices_stay_in_their_table_and_reach_its_ends() -> None:
    ids, mask = Tensor("ids", (1, 12), "int64"), Tensor("mask", (1, 12), "int32")
    drawn = samples_of([ids, mask], {"ids": 1000}, 0)
    places = np.stack([s.arrays["ids"] for s in drawn])
    assert (places.min(), places.max()) == (0, 999)
    assert (places[1][0, -4:] == 0).all()
    masks = [s.arrays["mask"][0].tolist() for s in drawn]
    assert masks[1] == [1] * 12
    assert masks[2] == [1] * 8 + [0] * 4


def test_bytes_span_their_range_and_meet_its_ends() -> None:
    for dtype, low, high in (("uint8", 0, 255), ("int8", -128, 127)):
        whole, ends = (s.arrays["x"] for s in samples_of([Tensor("x", (40, 50), dtype)], {}, 0))
        assert (whole.min(), whole.max()) == (low, high)
        assert set(np.unique(ends)) == {low, 0, 1, high}


def test_tokens_are_places_in_the_table_that_reads_them() -> None:
    nodes = [
        helper.make_node("Cast", ["ids"], ["c"], "cast", to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["c", "zero"], ["u"], "unsqueeze"),
        helper.make_node("Gather", ["table", "u"], ["g"], "gather"),
        helper.make_node("Gather", ["kinds", "kind"], ["k"], "kinds"),
        helper.make_node("Add", ["g", "k"], ["y"], "add"),
    ]
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT32, [1, 7]),
        helper.make_tensor_value_info("kind", TensorProto.INT64, [1, 7]),
    ]
    weights = {
        "table": np.ones((30, 4), np.float32), "kinds": np.ones((2, 4), np.float32),
        "zero": np.array([0]),
    }  # fmt: skip
    proto = helper.make_model(
        helper.make_graph(
            nodes, "tokens", inputs, [helper.make_empty_tensor_value_info("y")],
            [numpy_helper.from_array(a, n) for n, a in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    model = splitc.load(shape_inference.infer_shapes(proto))
    assert dict(model.index_extents) == {"ids": 30, "kind": 2}


def test_tokens_of_a_module_are_places_in_the_table_that_reads_them() -> None:
    torch = pytest.importorskip("torch", reason="needs torch")

    from tests.frontend.torch.nets import Tokens

    ids = torch.zeros(1, 7, dtype=torch.int32)
    model = splitc.load(Tokens().eval(), (ids, ids.long(), ids.long()))
    assert dict(model.index_extents) == {"ids": 30, "kind": 2}


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
def test_no_divisor_of_whole_numbers_is_zero(dtype: str) -> None:
    tensor = Tensor("y", (40, 30), dtype)
    drawn = np.stack([s.arrays["y"] for s in samples_of([tensor], {}, 0, {"y"})])
    assert drawn.all()
    assert (drawn < 0).any() == (dtype[0] == "i")
    assert np.abs(drawn.astype(np.float64)).max() > 100


def test_divisors_and_amounts_of_shifts_are_known() -> None:
    nodes = [
        helper.make_node("Unsqueeze", ["y", "zero"], ["u"], "unsqueeze"),
        helper.make_node("Mod", ["x", "u"], ["m"], "mod"),
        helper.make_node("BitShift", ["m", "by"], ["s"], "shift", direction="LEFT"),
        helper.make_node("QuantizeLinear", ["f", "scale"], ["q"], "quantize"),
        helper.make_node("Div", ["f", "g"], ["h"], "div"),
    ]
    kinds = {"x": "UINT32", "y": "UINT32", "by": "UINT32", "f": "FLOAT", "g": "FLOAT"}
    inputs = [
        helper.make_tensor_value_info(n, TensorProto.DataType.Value(k), [4])
        for n, k in kinds.items()
    ]
    inputs.append(helper.make_tensor_value_info("scale", TensorProto.FLOAT, []))
    proto = helper.make_model(
        helper.make_graph(
            nodes, "divided", inputs, [helper.make_empty_tensor_value_info(n) for n in "sqh"],
            [numpy_helper.from_array(np.array([0]), "zero")],
        ),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    model = splitc.load(shape_inference.infer_shapes(proto))
    assert model.divisors == {"y", "scale"}
    assert dict(model.index_extents) == {"by": 32}


def test_divisors_of_a_module_are_known() -> None:
    torch = pytest.importorskip("torch", reason="needs torch")

    from tests.frontend.torch.nets import Divided

    ones = torch.ones(4, dtype=torch.int32)
    model = splitc.load(Divided().eval(), (ones, ones.clone(), ones.clone()))
    assert model.divisors == {"y", "z"}


def test_a_sample_that_float16_cannot_tell_apart_is_left_out(tmp_path: Path) -> None:
    """Softmax of scores of thousands, which lie a whole number apart, is one class or another."""
    nodes = [
        helper.make_node("Mul", ["x", "much"], ["scores"], "scores"),
        helper.make_node("Softmax", ["scores"], ["y"], "softmax", axis=-1),
    ]
    value = helper.make_tensor_value_info
    proto = helper.make_model(
        helper.make_graph(
            nodes, "halves", [value("x", TensorProto.FLOAT16, [1, 3, 8, 8])],
            [value("y", TensorProto.FLOAT16, [1, 3, 8, 8])],
            [numpy_helper.from_array(np.array(4, np.float16), "much")],
        ),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    said: list[str] = []
    job = plan(splitc.load(proto), cut="scores", head="host", emit="onnx")
    build(job, output=tmp_path / "b.splitc", note=said.append)
    assert any("0 to 255" in each and "a step of float16" in each for each in said)


def test_a_sample_whose_rounding_decides_which_is_larger_is_left_out(tmp_path: Path) -> None:
    """A tenth and a fifth of a number against three tenths: of pixels rounding is all there is."""
    node, value = helper.make_node, helper.make_tensor_value_info
    factors = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 1e-6}
    nodes = [
        *(node("Mul", ["x", name], [f"x{name}"], f"m{name}") for name in "abc"),
        node("Add", ["xa", "xb"], ["sum"], "sum"), node("Add", ["sum", "d"], ["left"], "left"),
        node("Concat", ["left", "xc"], ["both"], "both", axis=0),
        node("ArgMax", ["both"], ["y"], "larger", axis=0),
    ]  # fmt: skip
    stored = [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in factors.items()]
    proto = helper.make_model(
        helper.make_graph(
            nodes, "larger", [value("x", TensorProto.FLOAT, [1, 3, 8, 8])],
            [value("y", TensorProto.INT64, [1, 3, 8, 8])], stored,
        ),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    said: list[str] = []
    job = plan(splitc.load(proto), cut="both", head="host", emit="onnx")
    build(job, output=tmp_path / "b.splitc", note=said.append)
    (only,) = [each for each in said if "left out" in each]
    assert "0 to 255" in only
    assert "a few steps of float32 in its inputs move result 'y'" in only


def test_a_channel_beside_a_huge_element_is_held_against_its_own_magnitude() -> None:
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((1, 6, 10, 10)).astype(np.float32)
    reference[0, 2, 3, 3] = 1e6
    got = reference * np.float32(1 + 1e-6)
    assert difference("t", got, reference).near(1e-3)
    got[0, 4] = got[0, 4][::-1].copy()
    found = difference("t", got, reference)
    assert found.relative < 1e-3
    assert not found.near(1e-3)
    assert "slice 4 of axis 1" in found.wrong


def test_most_elements_of_a_vector_beside_a_huge_one_may_not_be_off() -> None:
    reference = np.array([1e6, 1, 2, 3, 4, 5, 6, 7, 8, 9], np.float32)
    got = reference + np.float32(1)
    assert "9 of 10 elements" in difference("y", got, reference).wrong


def test_a_small_class_that_is_wrong_in_every_sample_is_found() -> None:
    reference = np.array([[[0.9, 1e-4, 0.1]], [[0.2, 1e-3, 0.8]]], np.float32)
    got = reference.copy()
    got[..., 1] *= 1.5
    found = worst_of("y", got, reference, 1e-3)
    assert found.relative < 1e-3
    assert not found.near(1e-3)


def test_noise_in_a_channel_that_is_nearly_zero_is_none() -> None:
    reference = np.random.default_rng(1).standard_normal((1, 4, 8, 8)).astype(np.float32)
    reference[0, 1] *= 1e-9
    got = reference.copy()
    got[0, 1] += np.float32(1e-7)
    assert difference("t", got, reference).near(1e-3)


def test_the_places_of_equal_largest_values_are_the_same_arg_max() -> None:
    reference = np.array([[2.0, 1.0, 2.0]], np.float32)
    got = reference + np.array([[-1e-7, 0, 0]], np.float32)
    assert difference("y", got, reference).within(1e-3)
    # Where values were rounded to steps, a step is no other class.
    steps = np.array([[2.0, 1.0, 1.99]], np.float32)
    assert not difference("y", steps[:, [2, 1, 0]], steps).within(1e-2 / 2)
    assert difference("y", steps[:, [2, 1, 0]], steps, LOOSEST_TOLERANCE).same_argmax


def test_of_many_whole_numbers_a_tie_or_two_may_fall_the_other_way() -> None:
    reference = np.zeros((200, 200), np.int64)
    got = reference.copy()
    got[3, 5:8] = 1
    assert difference("y", got, reference).near(1e-3)
    got[7, :5] = 1
    assert not difference("y", got, reference).near(1e-3)
    small = np.zeros((3, 3), np.int64)
    assert not difference("y", small + np.eye(3, dtype=np.int64), small).near(1e-2)


def test_a_channel_of_levels_that_is_wrong_is_found_among_many() -> None:
    levels = np.random.default_rng(0).integers(0, 255, (1, 64, 10, 10)).astype(np.uint8)
    got = levels.copy()
    got[0, 9] = np.random.default_rng(1).integers(0, 255, (10, 10)).astype(np.uint8)
    found = quantised_difference("t", got, levels, 1e-2)
    assert found.relative < 1e-2
    assert not found.near(1e-2)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bool", "int32", "uint8"])
def test_empty_results_are_equal(dtype: str) -> None:
    empty = np.zeros((0, 4), dtype)
    assert difference("y", empty, empty).within(0)
    assert quantised_difference("y", empty, empty).within(0)


def test_doubles_are_compared_as_doubles() -> None:
    reference = np.array([1.0, 1.0 + 1e-12, 3.0])
    assert difference("y", reference + 1e-13, reference).within(1e-3)
    assert difference("y", reference * 1.01, reference).relative == pytest.approx(0.015, rel=1e-2)


def test_truncated_weights_are_found_beside_large_ones() -> None:
    # DequantizeLinear of the float8 weights 0, 0.5, 1, 448, -104 with scale 2, in three samples:
    # 0.5 truncated to 0 is 9e-4 of the range.
    reference = np.array([[0, 1, 2, 896, -208]] * 3, np.float32)
    got = reference.copy()
    got[:, 1] = 0
    found = worst_of("y", got, reference, 1e-3)
    assert found.relative < 1e-3
    assert not found.within(1e-3)


def test_a_quantised_result_that_is_a_step_off_somewhere_passes() -> None:
    reference = np.random.default_rng(0).integers(-128, 128, (2, 33, 5, 8)).astype(np.int8)
    reference[0, 0, 0, :2] = 127
    got = reference.copy()
    got[0, 0, 0, 0] -= 1
    found = quantised_difference("y", got, reference)
    assert 0 < found.relative < 1e-3
    assert found.within(1e-3)
    got[1] = 0
    assert not quantised_difference("y", got, reference).within(1e-3)


def test_whole_numbers_may_differ_in_a_tenth_of_the_tolerance_as_a_share() -> None:
    reference = np.arange(20_000)
    got = reference.copy()
    got[7] += 1
    assert difference("y", got, reference).within(1e-3)
    got[:10] += 1
    assert not difference("y", got, reference).within(1e-3)
