# SPDX-License-Identifier: Apache-2.0
"""ONNX networks for several samples a call: found in the constants that exporters wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, helper

import splitc
from splitc import zoo
from splitc.errors import BadModelError, SplitcError
from splitc.frontend.onnx.model import OnnxModel
from tests.helpers import model_of, small_network
from tests.random_networks.strategy import seeded

Array = np.ndarray[Any, np.dtype[Any]]
node = helper.make_node


def loaded(
    nodes: Sequence[NodeProto], shape: Sequence[int], weights: dict[str, Array] | None = None
) -> OnnxModel:
    """A network from x to y, as it is written."""
    return splitc.load(model_of(nodes, {"x": shape}, ["y"], weights), simplify=False)


def together_and_alone(model: OnnxModel, count: int) -> tuple[Array, Array]:
    """The results of samples in one call, and of each by itself."""
    rng = np.random.default_rng(0)
    (entry,), (name,) = model.graph.inputs, model.graph.outputs
    samples = [rng.standard_normal(entry.static_shape).astype(np.float32) for _ in range(count)]
    many = model.batched(count).run({entry.name: np.concatenate(samples)})[name]
    return many, np.concatenate([model.run({entry.name: one})[name] for one in samples])


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


NETWORKS: dict[str, tuple[list[NodeProto], tuple[int, ...], dict[str, Array]]] = {
    "a reshape that says 1": (
        [node("Reshape", ["x", "s"], ["y"], "flat")], (1, 4, 6), {"s": ints(1, 24)},
    ),
    "one that says it in the middle": (
        [
            node("Transpose", ["x"], ["t"], "turn", perm=[1, 0, 2]),
            node("Reshape", ["t", "s"], ["r"], "heads"),
            node("Transpose", ["r"], ["b"], "back", perm=[1, 0, 2]),
            node("Reshape", ["b", "u"], ["y"], "join"),
        ],
        (2, 5, 6), {"s": ints(5, 6, 2), "u": ints(2, 3, 5, 2)},
    ),
    "a row that is joined to each": (
        [
            node("Concat", ["token", "x"], ["c"], "tokens", axis=1),
            node("Add", ["c", "places"], ["y"], "placed"),
        ],
        (1, 4, 6),
        {"token": np.ones((1, 1, 6), np.float32), "places": np.eye(5, 6, dtype=np.float32)},
    ),
    "a stored value a sample": (
        [node("Add", ["x", "each"], ["y"], "add")],
        (2, 3), {"each": np.array([[1], [2]], np.float32)},
    ),
    "an expansion": (
        [
            node("ReduceMean", ["x"], ["m"], "mean", axes=[2]),
            node("Expand", ["m", "s"], ["e"], "wide"),
            node("Sub", ["x", "e"], ["y"], "centred"),
        ],
        (2, 3, 4), {"s": ints(2, 3, 4)},
    ),
    "a resize to a size": (
        [node("Resize", ["x", "", "", "s"], ["y"], "up", mode="nearest")],
        (1, 2, 3, 3), {"s": ints(1, 2, 6, 6)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NETWORKS)
@pytest.mark.parametrize("count", [2, 3])
def test_a_constant_that_holds_the_batch_is_found(what: str, count: int) -> None:
    many, alone = together_and_alone(loaded(*NETWORKS[what]), count)
    np.testing.assert_allclose(many, alone, rtol=1e-6)


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_whole_networks_take_several_samples(name: str) -> None:
    many, alone = together_and_alone(splitc.load(zoo.build(name)), 2)
    np.testing.assert_allclose(many, alone, rtol=1e-4, atol=1e-5)


def test_the_given_model_stays_as_it_is() -> None:
    model = splitc.load(small_network())
    before = model.proto.SerializeToString(deterministic=True)
    made = model.batched(4)
    assert [t.shape for t in made.graph.inputs] == [(4, 3, 12, 12)]
    assert [t.shape for t in made.graph.output_tensors] == [(4, 10)]
    assert model.proto.SerializeToString(deterministic=True) == before
    assert made.digest != model.digest


REFUSED: dict[str, tuple[list[NodeProto], tuple[int, ...], dict[str, Array], str]] = {
    "the mean of the samples": (
        [node("ReduceMean", ["x"], ["y"], "mean", axes=[0], keepdims=1)], (1, 4), {},
        "layer 'mean'",
    ),
    "the first sample": (
        [node("Gather", ["x", "i"], ["g"], "first", axis=0), node("Relu", ["g"], ["y"], "relu")],
        (1, 4), {"i": ints(0)}, "layer 'first'",
    ),
    "samples side by side": (
        [node("Concat", ["x", "x"], ["y"], "both", axis=0)], (1, 4), {}, "layer 'both'",
    ),
    "no axis of samples": (
        [node("Squeeze", ["x", "a"], ["y"], "squeeze")], (1, 4), {"a": ints(0)},
        "layer 'squeeze'",
    ),
    "another first axis of the result": (
        [node("Transpose", ["x"], ["y"], "turn", perm=[1, 0])], (1, 4), {}, "result 'y'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_works_across_samples_is_refused_by_name(what: str) -> None:
    nodes, shape, weights, where = REFUSED[what]
    with pytest.raises(BadModelError) as caught:
        loaded(nodes, shape, weights).batched(2)
    assert where in f"{caught.value.at} {caught.value.what}"


def test_networks_of_any_operators_take_several_samples_or_are_refused_by_name() -> None:
    taken = 0
    for seed in range(150):
        try:
            model = splitc.load(seeded(seed).proto(), simplify=False)
        except SplitcError:
            continue
        try:
            made = model.batched(3)
        except BadModelError as error:
            assert "samples" in f"{error.what} {error.why}"
            continue
        taken += 1
        before, after = model.graph, made.graph
        for one, many in zip(before.output_tensors, after.output_tensors, strict=True):
            assert many.static_shape == (3 * one.static_shape[0], *one.static_shape[1:])
    assert taken > 20
