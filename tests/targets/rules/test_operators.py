# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Functions, bits, remainders, triangles and reductions of every type: by rule, and right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from tests.targets.nets import (
    SEEDS,
    Array,
    Draw,
    Net,
    assert_right,
    assert_same,
    compiled,
    computed,
    one_of,
)
from tests.targets.rules.test_networks import sweep

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")

FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "Tan": np.tan, "Sinh": np.sinh, "Cosh": np.cosh, "Asin": np.arcsin, "Acos": np.arccos,
    "Atan": np.arctan, "Asinh": np.arcsinh, "Acosh": np.arccosh, "Atanh": np.arctanh,
}  # fmt: skip


def everywhere(seed: int, count: int) -> Array:
    """Floats of every size, about one most of them, and the hard ones."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2**32, count, np.uint64).astype(np.uint32).view(np.float32)
    near = rng.standard_normal(2 * count).astype(np.float32)
    ends = np.array([np.inf, -np.inf, np.nan, 0, -0.0, 1, -1, 0.5, -0.5, 88.9, -89.3], np.float32)
    normal = bits[~(np.abs(bits) < 2.0**-126)]
    return np.concatenate([normal, near, 9 * near, 1 + np.abs(near) / 64, ends])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_within_four_steps_of_exact(name: str) -> None:
    values = everywhere(0, 4000)
    net = Net(0)
    net.outputs = [net.op(name, net.input(values.size, values=values))]
    code = compiled(net.proto())
    assert not code.fallbacks
    (got,) = computed(code, net.proto(), net.inputs)
    with np.errstate(all="ignore"):
        exact = FUNCTIONS[name](values.astype(np.float64))
        want = exact.astype(np.float32)
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    away = np.abs(got[finite] - exact[finite]) / np.spacing(np.abs(want[finite]))
    assert away.max() <= 4
    zero = want == 0
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


def reference(net: Net) -> list[Array]:
    """What onnx's own reference gives."""
    with np.errstate(all="ignore"):
        found = ReferenceEvaluator(net.proto()).run(None, net.inputs)
    assert isinstance(found, list)
    return [np.asarray(each) for each in found]


@st.composite
def bits(draw: Draw) -> Net:
    """Operations on the bits of integers, by numbers that are stored or not."""
    dtype, op = one_of(draw, *INTEGERS), one_of(draw, "And", "Or", "Xor", "Not", "<<", ">>")
    net = Net(draw(SEEDS), opset=28)
    shape = one_of(draw, (37,), (3, 5), (2, 3, 17), (1,))
    ends = np.iinfo(dtype)

    def random(shape: tuple[int, ...]) -> Array:
        whole = net.rng.integers(ends.min, ends.max, shape, dtype, endpoint=True)
        small = net.rng.integers(0, 9, shape).astype(dtype)
        return np.where(net.rng.random(shape) < 0.3, small, whole).astype(dtype)

    x = net.input(*shape, values=random(shape))
    if op == "Not":
        net.outputs = [net.op("BitwiseNot", x)]
        return net
    beside = one_of(draw, shape, shape[-1:], (1,))
    by = random(beside)
    if op in ("<<", ">>"):
        least = -3 if ends.min else 0
        by = net.rng.integers(least, 8 * by.itemsize + 4, beside).astype(dtype)
    y = np.asarray(by) if draw(st.booleans()) else net.input(*beside, values=by)
    if op in ("<<", ">>"):
        net.outputs = [net.op("BitShift", x, y, direction="LEFT" if op == "<<" else "RIGHT")]
    else:
        net.outputs = [net.op(f"Bitwise{op}", x, y)]
    return net


@sweep(24)
@given(bits())
def test_operations_on_bits_are_onnxs(net: Net) -> None:
    code = compiled(net.proto())
    assert not code.fallbacks
    assert_same(computed(code, net.proto(), net.inputs), reference(net))


HARD = np.array(
    [0, -0.0, 1, -1, 5.3, -5.3, 2, -2, 1e10, -1e10, 3e38, 1e-3, -1e-3, np.inf, -np.inf, np.nan],
)  # fmt: skip


def remainders_of_floats(dtype: str, floor: bool) -> Net:
    """Mod of every pair of numbers: signs, zero divisors and infinities among them."""
    with np.errstate(over="ignore"):
        x, y = (each.astype(dtype) for each in np.meshgrid(HARD, HARD))
    net = Net(0, opset=28)
    left, right = (net.input(*each.shape, values=each) for each in (x, y))
    net.outputs = [net.op("Mod", left, right, fmod=int(not floor))]
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("floor", [False, True], ids=["of C", "of the divisor's sign"])
def test_remainders_of_floats_are_exact(dtype: str, floor: bool) -> None:
    net = remainders_of_floats(dtype, floor)
    code = compiled(net.proto())
    assert not code.fallbacks
    (got,), (want,) = computed(code, net.proto(), net.inputs), reference(net)
    np.testing.assert_array_equal(got, want)
    if floor:
        zero = want == 0
        np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_powers_by_a_tensor_are_onnxruntimes(dtype: str) -> None:
    x, y = (each.astype(dtype) for each in np.meshgrid(np.append(HARD, [0.5, 3]), HARD))
    net = Net(0)
    net.outputs = [net.op("Pow", *(net.input(*each.shape, values=each) for each in (x, y)))]
    assert not assert_right(net).fallbacks


REDUCED = {
    "ReduceSum": ("int32", "int64", "float64"), "ReduceProd": ("int32", "int64", "float64"),
    "ReduceMax": ("int32", "int64", "float64", "int8", "uint8"),
    "ReduceMin": ("int32", "int64", "float64", "int8", "uint8"), "ReduceMean": ("float64",),
}  # fmt: skip
"""Types that onnxruntime reduces too."""


@st.composite
def reductions(draw: Draw) -> Net:
    """Reductions over any axes of other tensors than of float32, transposed or not."""
    net = Net(draw(SEEDS), opset=18)
    op = one_of(draw, *REDUCED)
    dtype = one_of(draw, *REDUCED[op])
    shape = one_of(draw, (37,), (5, 9), (3, 17, 4), (2, 33, 3, 16), (70, 40))
    axes = [k for k in range(len(shape)) if draw(st.booleans())] or [0]
    values = net.random(*shape, dtype=dtype)
    x = net.input(*shape, values=np.clip(values, 0, 2) if op == "ReduceProd" else values)
    if draw(st.booleans()):
        x = net.op("Transpose", x, perm=list(reversed(range(len(shape)))))
    net.outputs = [net.op(op, x, np.array(axes), keepdims=one_of(draw, 0, 1))]
    return net


@sweep(20)
@given(reductions())
def test_reductions_of_any_type_are_onnxruntimes(net: Net) -> None:
    assert not assert_right(net).fallbacks


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_bounds_of_types_that_onnxruntime_does_not_reduce(dtype: str) -> None:
    ends = np.iinfo(dtype)
    net = Net(0, opset=18)
    values = net.rng.integers(ends.min, ends.max, (5, 21), dtype, endpoint=True)
    values[0], values[1] = ends.max, ends.min
    x = net.input(5, 21, values=values)
    net.outputs = [net.op(op, x, np.array([1]), keepdims=0) for op in ("ReduceMax", "ReduceMin")]
    code = compiled(net.proto())
    assert not code.fallbacks
    assert_same(computed(code, net.proto(), net.inputs), [values.max(1), values.min(1)])


@st.composite
def triangles(draw: Draw) -> Net:
    """Trilu on either side of any diagonal."""
    net = Net(draw(SEEDS))
    shape = one_of(draw, (5, 9), (2, 17, 17), (2, 3, 33, 4), (1, 1), (1, 7))
    x = net.input(*shape, dtype=one_of(draw, "float32", "float64", "int64", "int32", "bool"))
    k = np.array(one_of(draw, 0, 1, -1, 3, -9, 40))
    net.outputs = [net.op("Trilu", x, k, upper=one_of(draw, 0, 1))]
    return net


@sweep(10)
@given(triangles())
def test_triangles_are_onnxruntimes(net: Net) -> None:
    assert not assert_right(net).fallbacks


OTHERS: dict[str, Callable[[Net], str]] = {
    "Shrink": lambda n: n.op("Shrink", n.input(5, 33), lambd=0.7, bias=0.2),
    "Hardmax": lambda n: n.op("Hardmax", n.input(5, 33), axis=0),
    "Abs": lambda n: n.op("Abs", n.input(5, 33, dtype="int32")),
    "Sign": lambda n: n.op("Sign", n.input(5, 33, dtype="int64")),
    "Relu": lambda n: n.op("Relu", n.input(5, 33, dtype="int32")),
    "Max": lambda n: n.op("Max", *(n.input(5, 33, dtype="int64") for _ in range(3))),
    "Min": lambda n: n.op("Min", *(n.input(5, 33, dtype="int8") for _ in range(3))),
    "PRelu": lambda n: n.op("PRelu", n.input(2, 4, 5, 3), n.input(4, 1, 1)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_else_has_a_rule_is_onnxruntimes(name: str) -> None:
    net = Net(0)
    net.outputs = [OTHERS[name](net)]
    assert not assert_right(net).fallbacks
