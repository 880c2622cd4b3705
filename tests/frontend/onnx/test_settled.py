# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""Inputs that decide declared shapes: samples have the values under which the shapes hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import splitc
from splitc.bundle.bundle import require
from splitc.bundle.samples import samples_of
from splitc.errors import BadModelError

Arrays = dict[str, np.ndarray[Any, Any]]
WHOLE, FLOAT = int(TensorProto.INT64), int(TensorProto.FLOAT)


def network(
    text: str, inputs: dict[str, tuple[int, list[int]]], shape: list[int], stored: Arrays,
    dtype: int = FLOAT,
) -> ModelProto:  # fmt: skip
    """A network whose result `y` is declared, of lines such as `b = Cast(a), to=1`."""
    nodes: list[NodeProto] = []
    for line in text.strip().splitlines():
        made, _, rest = line.strip().partition(" = ")
        call, _, attribute = rest.partition("), ")
        op, _, names = call.rstrip(")").partition("(")
        nodes.append(helper.make_node(op, names.split(", "), made.split(", ")))
        if attribute:
            name, _, value = attribute.partition("=")
            nodes[-1].attribute.append(helper.make_attribute(name, int(value)))
    takes = [helper.make_tensor_value_info(n, *kind) for n, kind in inputs.items()]
    gives = [helper.make_tensor_value_info("y", dtype, shape)]
    weights = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    graph = helper.make_graph(nodes, "net", takes, gives, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


TYPED = {
    "float32": (FLOAT, np.float32), "int64": (WHOLE, np.int64), "double": (11, np.float64),
}  # fmt: skip


@pytest.mark.parametrize("kind", TYPED)
@pytest.mark.parametrize("open_", ["limit", "start limit delta", "start", "delta", "limit delta"])
@pytest.mark.parametrize("delta", [3, -3])
def test_a_range_ends_where_its_length_is_the_declared_one(
    kind: str, open_: str, delta: int
) -> None:
    number, dtype = TYPED[kind]
    values = {"start": 4, "limit": 4 + 5 * delta, "delta": delta}
    inputs = {name: (number, list[int]()) for name in open_.split()}
    stored = {n: np.array(v, dtype) for n, v in values.items() if n not in inputs}
    proto = network("y = Range(start, limit, delta)", inputs, [5], stored, number)
    model = splitc.load(proto, simplify=False)
    assert model.settled.keys() == inputs.keys()
    for sample in samples_of(model.graph.inputs, {}, 0, (), model.settled):
        assert model.run(sample.arrays)["y"].shape == (5,)


CHAINS: dict[str, tuple[str, tuple[int, list[int]], list[int], Any]] = {
    "half of a number more": ("""
        more = Add(n, one)
        half = Mul(more, point)
        whole = Cast(half), to=7
        size = Unsqueeze(whole, zero)
        y = ConstantOfShape(size)""", (FLOAT, []), [6], 11.0),
    "one of two extents": ("""
        size = Unsqueeze(n, zero)
        both = Concat(size, two), axis=0
        y = Expand(wide, both)""", (WHOLE, []), [3, 2], 3),
    "the floor of a quotient": ("""
        f = Cast(n), to=1
        q = Div(f, four)
        down = Floor(q)
        whole = Cast(down), to=7
        size = Unsqueeze(whole, zero)
        y = ConstantOfShape(size)""", (WHOLE, []), [7], 30),
    "what is left of a number": ("""
        rest = Sub(nine, n)
        size = Unsqueeze(rest, zero)
        y = Expand(wide, size)""", (WHOLE, []), [4], 5),
    "times": ("y = Tile(row, n)", (WHOLE, [1]), [6], [3]),
    "the best": ("y, places = TopK(row8, n)", (WHOLE, [1]), [5], [5]),
}  # fmt: skip


@pytest.mark.parametrize("chain", CHAINS)
def test_what_a_size_is_computed_from_is_computed_back(chain: str) -> None:
    text, kind, shape, right = CHAINS[chain]
    stored = {
        "one": np.array(1, np.float32), "point": np.array(0.5, np.float32),
        "zero": np.array([0]), "two": np.array([2]), "four": np.array(4, np.float32),
        "nine": np.array(9), "wide": np.zeros(1, np.float32), "row": np.zeros(2, np.float32),
        "row8": np.arange(8, dtype=np.float32),
    }  # fmt: skip
    proto = network(text, {"n": kind}, shape, {n: a for n, a in stored.items() if n in text})
    model = splitc.load(proto, simplify=False)
    np.testing.assert_array_equal(model.settled["n"], right)
    given = {"n": np.asarray(model.settled["n"])}
    assert model.run(given)["y"].shape == tuple(shape)


def test_a_value_that_has_no_inverse_here_stays_drawn() -> None:
    text = "s = Mul(n, n)\nsize = Unsqueeze(s, zero)\ny = ConstantOfShape(size)"
    proto = network(text, {"n": (WHOLE, [])}, [9], {"zero": np.array([0])})
    model = splitc.load(proto, simplify=False)
    (drawn, *_) = samples_of(model.graph.inputs, {}, 0, (), model.settled)
    with pytest.raises(BadModelError, match="has another shape than was found"):
        model.run(drawn.arrays)


def test_an_input_that_decides_no_shape_is_drawn() -> None:
    model = splitc.load(network("y = Relu(x)", {"x": (FLOAT, [4])}, [4], {}))
    assert not model.settled


def test_a_network_whose_window_is_as_long_as_an_input_says_is_verified(tmp_path: Path) -> None:
    text = """
    w = HannWindow(n)
    cut = Mul(x, w)
    y = Relu(cut)
    """
    proto = network(text, {"x": (FLOAT, [2, 16]), "n": (WHOLE, [])}, [2, 16], {})
    proto.graph.value_info.append(helper.make_tensor_value_info("w", FLOAT, [16]))
    bundle = splitc.compile(splitc.load(proto), cut="device", head="host", output=tmp_path / "b")
    require(bundle.verify())
    x = np.random.default_rng(0).standard_normal((2, 16)).astype(np.float32)
    window = np.hanning(17)[:-1]
    made = bundle.run({"x": x, "n": np.array(16)})["y"]
    np.testing.assert_allclose(made, np.maximum(x * window, 0), atol=1e-6)


def test_a_choice_by_a_scalar_input_is_verified(tmp_path: Path) -> None:
    """Samples are moved by a few steps of float32, scalars among them."""
    text = "above = Greater(x, n)\ny = Cast(above), to=1"
    proto = network(text, {"x": (FLOAT, [8]), "n": (FLOAT, [])}, [8], {})
    bundle = splitc.compile(splitc.load(proto), cut="device", head="host", output=tmp_path / "b")
    require(bundle.verify())
