# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Sorting kernels: each type, order and amount against numpy's stable sort."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from numpy.typing import NDArray

import splitc
from splitc.cost.board import load_board
from splitc_targets.kernels import sorting
from splitc_targets.kernels.sorting import Result, Sort
from splitc_targets.loops import emit
from splitc_targets.tvm import adapter
from tests.targets.kernels.alone import BOARDS, machine
from tests.targets.nets import Net, assert_right, compiled, computed, wanted

Array = NDArray[Any]


def ordered(x: Array, kept: int, descending: bool) -> tuple[Array, Array]:
    """The first of each row in order, and their places: numpy's stable sort."""
    if descending:  # Reversed twice, so that of equal elements the first stays first.
        back = np.argsort(x[:, ::-1], axis=1, kind="stable")[:, ::-1]
        places = x.shape[1] - 1 - back
    else:
        places = np.argsort(x, axis=1, kind="stable")
    places = places[:, :kept]
    return np.take_along_axis(x, places, 1), places


def sorted_by_kernel(board: str, x: Array, kept: int, descending: bool) -> tuple[Array, Array]:
    """Values and places of every row by the kernel."""
    rows, length = x.shape
    name = str(x.dtype)
    results = (Result("values", name, 1, (kept,)), Result("places", "int64", 1, (kept,)))
    spec = Sort(name, length, 1, ((rows, length),), kept, descending, results)
    target = adapter.target_of(load_board(board))
    library = emit.compile_alone(sorting.kernel("main", spec, machine(board)), target)
    values = tvm.runtime.tensor(np.zeros(rows * kept, x.dtype))
    places = tvm.runtime.tensor(np.full(rows * kept, -1, np.int64))
    library["main"](tvm.runtime.tensor(np.ascontiguousarray(x).ravel()), values, places)
    return values.numpy().reshape(rows, kept), places.numpy().reshape(rows, kept)


def elements(dtype: str, rows: int, length: int) -> Array:
    """Elements with many ties, both ends of the type, and what is special about floats."""
    rng = np.random.default_rng(length)
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return rng.integers(0, 2, (rows, length)).astype(bool)
    x = rng.integers(-9 if kind.kind != "u" else 0, 10, (rows, length)).astype(kind)
    if kind.kind == "f":
        special = np.array([np.inf, -np.inf, np.nan, -np.nan, -0.0, 0.0, 1e-40, -1e-40], kind)
        return np.where(rng.random((rows, length)) < 0.2, rng.choice(special, x.shape), x)
    ends = np.array([np.iinfo(kind).min, np.iinfo(kind).max], kind)
    return np.where(rng.random((rows, length)) < 0.2, rng.choice(ends, x.shape), x)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", sorted(sorting.KEYS))
def test_every_type_is_ordered_as_numpy_orders_it(dtype: str, descending: bool) -> None:
    x = elements(dtype, 3, 37)
    values, places = sorted_by_kernel(BOARDS[-1], x, 37, descending)
    want, where = ordered(x, 37, descending)
    np.testing.assert_array_equal(places, where)
    np.testing.assert_array_equal(values, want)


@pytest.mark.parametrize("length", [1, 2, 5, 31, 1200])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_the_first_few_of_many_are_those_of_a_whole_sort(dtype: str, length: int) -> None:
    board = BOARDS[0]
    x = elements(dtype, 2, length)
    for kept in {1, min(3, length), min(300, length), length}:
        for descending in (False, True):
            values, places = sorted_by_kernel(board, x, kept, descending)
            want, where = ordered(x, kept, descending)
            np.testing.assert_array_equal(places, where)
            np.testing.assert_array_equal(values, want)


@pytest.mark.parametrize("order", ["rising", "falling", "equal"])
def test_rows_whose_every_element_is_kept_for_a_while(order: str) -> None:
    line = np.arange(5000, dtype=np.float32)
    x = {"rising": line, "falling": -line, "equal": line * 0}[order].reshape(1, -1)
    for kept in (7, 900):  # kept in order all the time, and gathered
        values, places = sorted_by_kernel(BOARDS[-1], x, kept, True)
        want, where = ordered(x, kept, True)
        np.testing.assert_array_equal(places, where)
        np.testing.assert_array_equal(values, want)


@pytest.mark.parametrize("opset", [9, 10, 11, 24])
@pytest.mark.parametrize("axis", [-1, 1, 0])
def test_top_k_along_any_axis_of_every_form(opset: int, axis: int) -> None:
    net = Net(0, opset)
    x = net.op("Relu", net.input(3, 20, 4))  # Zeros are ties.
    if opset < 10:
        net.outputs = net.ops("TopK", x, results=2, k=3, axis=axis)
    elif opset < 11:
        net.outputs = net.ops("TopK", x, np.array([3]), results=2, axis=axis)
    else:
        net.outputs = [
            *net.ops("TopK", x, np.array([2]), results=2, axis=axis, largest=0),
            *net.ops("TopK", x, np.array([3]), results=2, axis=axis),
        ]
    assert assert_right(net).fallbacks == ()


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "int32", "int64", "uint8"])
def test_top_k_of_every_type_that_onnxruntime_takes(dtype: str) -> None:
    net = Net(0)
    net.outputs = net.ops("TopK", net.input(4, 30, dtype=dtype), np.array([5]), results=2)
    assert assert_right(net).fallbacks == ()


def test_one_of_the_two_results_may_be_all_that_is_read() -> None:
    net = Net(0)
    x = net.input(1, 4, 6, 6)
    values, _ = net.ops("TopK", net.op("Conv", x, net.random(9, 4, 1, 1)), np.array([2]),
                        results=2, axis=1)  # fmt: skip
    _, places = net.ops("TopK", net.op("Flatten", values), np.array([7]), results=2)
    net.outputs = [net.op("Add", values, values), places]
    assert_right(net)


def test_what_is_not_a_number_comes_before_every_number() -> None:
    net = Net(0)
    x = np.array([[1, np.nan, 3, -np.nan, np.inf]], np.float32)
    net.outputs = net.ops("TopK", net.input(1, 5, values=x), np.array([4]), results=2)
    proto = net.proto()
    values, places = computed(compiled(proto), proto, net.inputs)
    assert places.tolist() == [[1, 3, 4, 2]]
    np.testing.assert_array_equal(values, [[np.nan, np.nan, np.inf, 3]])


def test_what_may_lie_in_any_order_is_given_in_order() -> None:
    net = Net(0)
    net.outputs = net.ops("TopK", net.input(2, 50), np.array([9]), results=2, sorted=0)
    model = splitc.load(net.proto(), simplify=False)
    values, places = wanted(model.proto, net.inputs)
    assert np.all(np.diff(values, axis=1) <= 0)
    code = compiled(model.proto)
    for got, want in zip(computed(code, model.proto, net.inputs), (values, places), strict=True):
        np.testing.assert_array_equal(got, want)
