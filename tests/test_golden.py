# SPDX-License-Identifier: Apache-2.0
"""How differences from a reference are measured."""

from __future__ import annotations

import numpy as np
import pytest

from splitc.golden import difference, quantised_difference, seeded_inputs
from splitc.graph import Tensor

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
