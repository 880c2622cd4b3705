# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Comparisons, logic, choices and arithmetic of integers by rule: as onnxruntime has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.targets.nets import SEEDS, Draw, Net, assert_right, compiled, computed, one_of
from tests.targets.rules.test_networks import sweep

NUMBERS = ("float32", "int64", "int32", "float64")
SHAPES = ((37,), (3, 37), (2, 3, 17), (2, 1, 5, 16), (1, 1), ())
HARD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3.4e38])


def tensor(draw: Draw, net: Net, dtype: str, shape: tuple[int, ...]) -> str:
    """An input, of some shape that is broadcast to another; among floats are hard ones."""
    shape = tuple(n if draw(st.integers(0, 3)) else 1 for n in shape)
    values = net.random(*shape, dtype=dtype)
    if np.dtype(dtype).kind == "f" and values.size > 1:
        picked = net.rng.integers(0, values.size, 1 + values.size // 4)
        values.reshape(-1)[picked] = net.rng.choice(HARD, picked.size)
    return net.input(*shape, values=values)


def truth(draw: Draw, net: Net, dtype: str, shape: tuple[int, ...], depth: int) -> str:
    """A tensor of truth values: comparisons, tests and what logic makes of them."""
    form = one_of(draw, "compare", "compare", "logic", "not", "input", "cast", "same")
    if depth == 0 or form == "input":
        return tensor(draw, net, "bool", shape)
    if form == "logic":
        kind = one_of(draw, "And", "Or", "Xor", "Equal")
        return net.op(kind, *(truth(draw, net, dtype, shape, depth - 1) for _ in range(2)))
    if form == "not":
        return net.op("Not", truth(draw, net, dtype, shape, depth - 1))
    x = number(draw, net, dtype, shape, depth - 1)
    if form == "cast":
        return net.op("Cast", x, to=9)
    y = x if form == "same" else number(draw, net, dtype, shape, depth - 1)
    kind = one_of(draw, "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")
    tests = ("IsNaN", "IsInf") if dtype == "float32" else ()
    kind = one_of(draw, kind, *tests)
    return net.op(kind, x) if kind in tests else net.op(kind, x, y)


def number(draw: Draw, net: Net, dtype: str, shape: tuple[int, ...], depth: int) -> str:
    """A tensor of numbers, some of them chosen or made of truth values."""
    form = one_of(draw, "where", "where", "sum", "cast", "input", "stored")
    if depth == 0 or form == "input":
        return tensor(draw, net, dtype, shape)
    if form == "stored":
        return net.op("Add", tensor(draw, net, dtype, shape), np.array(3, dtype))
    if form == "cast":
        to = {"float32": 1, "int64": 7, "int32": 6, "float64": 11}[dtype]
        return net.op("Cast", truth(draw, net, dtype, shape, depth - 1), to=to)
    x, y = (number(draw, net, dtype, shape, depth - 1) for _ in range(2))
    if form == "where":
        return net.op("Where", truth(draw, net, dtype, shape, depth - 1), x, y)
    return net.op(one_of(draw, "Add", "Sub", "Max", "Min"), x, y)


@st.composite
def choices(draw: Draw) -> Net:
    """Truth values and numbers of one type, made of each other."""
    net = Net(draw(SEEDS))
    dtype, shape = one_of(draw, *NUMBERS), one_of(draw, *SHAPES)
    made = number if draw(st.booleans()) else truth
    net.outputs = [made(draw, net, dtype, shape, 3)]
    if net.outputs[0] in net.inputs:
        net.outputs = [net.op("Where", truth(draw, net, dtype, shape, 1),
                              *(tensor(draw, net, dtype, shape) for _ in range(2)))]  # fmt: skip
    return net


@sweep(50)
@given(choices())
def test_choices_of_one_type_are_onnxruntimes(net: Net) -> None:
    assert not assert_right(net).fallbacks


@st.composite
def remainders(draw: Draw) -> Net:
    """Mod and Div of integers of either sign, by numbers that are stored or not."""
    net = Net(draw(SEEDS))
    dtype = one_of(draw, "int32", "int64", "uint8", "int8", "int16", "uint32", "uint64")
    shape = one_of(draw, (37,), (3, 5), (2, 3, 17))
    signed = np.dtype(dtype).kind == "i"
    values = net.rng.integers(-100 if signed else 0, 100, shape).astype(dtype)
    by = net.rng.integers(1, 9, one_of(draw, shape, shape[-1:], (1,))).astype(dtype)
    by = by * net.rng.choice([1, -1], by.shape).astype(dtype) if signed else by
    x = net.input(*shape, values=values)
    y = np.asarray(by, dtype) if draw(st.booleans()) else net.input(*by.shape, values=by)
    mod = draw(st.booleans()) or dtype in ("int16",)
    attrs = {"fmod": one_of(draw, 0, 1)} if mod else {}
    net.outputs = [net.op("Mod" if mod else "Div", x, y, **attrs)]
    return net


@sweep(30)
@given(remainders())
def test_quotients_and_remainders_of_integers_are_onnxruntimes(net: Net) -> None:
    assert not assert_right(net).fallbacks


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_sums_of_integers_wrap_where_they_are_compared(dtype: str) -> None:
    ends = np.iinfo(dtype)
    values = np.resize(np.array([ends.max, ends.min, 0, -1], dtype), 37)
    net = Net(0)
    x = net.input(37, values=values)
    more = net.op("Add", x, np.array(1, dtype))
    net.outputs = [net.op("Less", x, more), more]
    want = values + np.array(1, dtype)
    got = computed(compiled(net.proto()), net.proto(), net.inputs)
    np.testing.assert_array_equal(got[1], want)
    np.testing.assert_array_equal(got[0], values < want)


def test_a_mask_is_computed_with_its_neighbours() -> None:
    net = Net(0)
    x, limit, known = net.input(4, 65), net.input(65), net.input(4, 65, dtype="bool")
    inside = net.op("And", net.op("Less", x, limit), known)
    net.outputs = [
        net.op("Mul", net.op("Where", inside, x, np.zeros((), np.float32)), net.input(4, 65))
    ]
    code = assert_right(net)
    assert [kernel.rule for kernel in code.kernels] == ["map"]
