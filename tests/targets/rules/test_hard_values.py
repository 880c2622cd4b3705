# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Infinities, not-a-number, zeros of either sign, nothing at all, and numbers far from zero."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.targets.nets import Array, Net, assert_same, compiled, computed, wanted

INF, NAN = float("inf"), float("nan")
HARD = np.array(
    [0, -0.0, 1, -1, 0.5, -0.5, 2.5, -2.5, 255, 100.25, -104, 89, -89, 1e-3, -1e-3, 1e-20, -1e-20,
     1e20, -1e20, 3e38, -3e38, INF, -INF, NAN, 16777217, 0.1, -6, -20, 30, -30, 8.2, -8.2, 3.93],
    np.float32,
)  # fmt: skip


def f32(*values: float) -> Array:
    return np.array(values[0] if len(values) == 1 else values, np.float32)


def results(net: Net) -> tuple[list[Array], list[Array]]:
    """(ours, onnxruntime's)."""
    proto = net.proto()
    return computed(compiled(proto), proto, net.inputs), wanted(proto, net.inputs)


def of_one(values: Array, write: Callable[[Net, str], str], opset: int = 20) -> Net:
    """A network of one input."""
    net = Net(0, opset)
    net.outputs = [write(net, net.input(*values.shape, values=values, dtype=str(values.dtype)))]
    return net


FUNCTIONS: dict[str, Callable[[Net, str], str]] = {
    **{op: lambda n, x, op=op: n.op(op, x) for op in (
        "Exp", "Log", "Tanh", "Erf", "Sqrt", "Relu", "Abs", "Sign", "Floor", "Softplus", "Atanh",
        "Selu", "HardSwish", "Reciprocal")},
    **{f"Pow {e}": lambda n, x, e=e: n.op("Pow", x, f32(e)) for e in (0.5, -0.5, 0.75, -1, 2, 3)},
    "Clip": lambda n, x: n.op("Clip", x, f32(-1), f32(2)),
    "Max": lambda n, x: n.op("Max", x, f32(0.25)),
    "Min": lambda n, x: n.op("Min", x, n.op("Neg", x)),
    "LeakyRelu": lambda n, x: n.op("LeakyRelu", x, alpha=0.1),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_at_hard_values(name: str) -> None:
    """Each value for itself: within a few steps, and within 1e-37 where it is denormal."""
    (got,), (want,) = results(of_one(HARD, FUNCTIONS[name]))
    np.testing.assert_allclose(got, want, rtol=3e-6, atol=1e-37)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_of_a_large_negative_number_is_zero(approximate: str) -> None:
    values = f32(-8.3, -9, -12, -104, -1e5, -1e20, -3e38, 12, 1e20)
    net = of_one(values, lambda n, x: n.op("Gelu", x, approximate=approximate))
    (got,), _ = results(net)
    np.testing.assert_allclose(got, np.where(values > 0, values, 0), rtol=1e-6, atol=2e-6)


def test_the_sigmoid_of_minus_infinity_is_zero() -> None:
    (got,), _ = results(of_one(f32(-INF, -1e30, -95, INF, NAN), lambda n, x: n.op("Sigmoid", x)))
    np.testing.assert_array_equal(got, f32(0, 0, 0, 1, NAN))


def test_a_softmax_whose_rows_without_a_result_are_zeros_is_one_kernel() -> None:
    """As PyTorch's exporter writes attention: a row may be masked altogether."""
    values = np.tile(f32(1, -2, 3, 0.5, -INF), (5, 1))
    values[1], values[2, 1], values[3, 2] = -INF, NAN, INF
    net = of_one(values, lambda n, x: n.op("Softmax", x, axis=-1))
    shares = net.outputs[0]
    net.outputs = [net.op("Where", net.op("IsNaN", shares), f32(0), shares)]
    got, want = results(net)
    assert_same(got, want)
    assert not got[0][1:4].any()
    assert [kernel.rule for kernel in compiled(net.proto()).kernels] == ["softmax"]


def test_a_maximum_over_a_window_passes_not_a_number_over() -> None:
    """Wherever in the window it stands; what comes after it does not lose what came before."""
    values = np.tile(f32(1, 7, NAN, 2, NAN, NAN, 3, 5), (8, 1)).reshape(1, 1, 8, 8)
    net = of_one(values, lambda n, x: n.op("MaxPool", x, kernel_shape=[3, 3]))
    (got,), _ = results(net)
    np.testing.assert_array_equal(got[0, 0], np.tile(f32(7, 7, 2, 2, 3, 5), (6, 1)))


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_place_of_an_extreme_is_within_the_axis(op: str, axis: int) -> None:
    """The first of equals; what is not a number is passed over; all infinite: the first."""
    rows = [[1, 3, 3, 2, 0], [-INF] * 5, [INF] * 5, [-INF, NAN, 5, 5, -2], [0, -0.0, NAN, 0, 0]]
    values = np.array(rows, np.float32)
    for dtype in ("float32", "float64", "int32", "uint8"):
        whole = values if dtype.startswith("f") else np.nan_to_num(values, posinf=9, neginf=0)
        net = of_one(whole.astype(dtype), lambda n, x: n.op(op, x, axis=axis, keepdims=axis))
        got, want = results(net)
        assert_same(got, want)


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_the_place_of_an_extreme_of_a_long_row_is_the_first(op: str, dtype: str) -> None:
    """Of equals in any lanes and behind the last whole vector, and among what is no number."""
    draw = np.random.default_rng(0)
    rows = draw.integers(-3, 4, (24, 203)).astype(dtype)
    rows[20], rows[21, -1], rows[22, 100:130] = 3, 9, -9
    if dtype == "float32":
        rows[:8][draw.random((8, 203)) < 0.3] = NAN
        rows[8], rows[9, 1:], rows[10], rows[11, ::2] = NAN, NAN, -INF, INF
    net = of_one(rows, lambda n, x: n.op(op, x, axis=1, keepdims=0))
    got, want = results(net)
    assert_same(got, want)


def test_log_sum_exp_of_infinities() -> None:
    rows = f32(*HARD[:4], INF, 2, *HARD[:4], -INF, 2, *[-INF] * 6, *[80.0] * 6).reshape(4, 6)
    net = of_one(rows, lambda n, x: n.op("ReduceLogSumExp", x, np.array([1])))
    assert_same(*results(net))


NORMS: dict[str, Callable[[Net, str], str]] = {
    "group": lambda n, x: n.op("GroupNormalization", x, np.ones(8, np.float32),
                               np.zeros(8, np.float32), num_groups=2),
    "one group": lambda n, x: n.op("GroupNormalization", x, np.ones(8, np.float32),
                                   np.zeros(8, np.float32), num_groups=1),
    "instance": lambda n, x: n.op("InstanceNormalization", x, np.ones(8, np.float32),
                                  np.zeros(8, np.float32)),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("offset", [0.0, 250.0, 1e4, -1e5])
def test_normalisations_far_from_zero(name: str, offset: float) -> None:
    """The variance of what is there, not a difference of two large means."""
    x = (np.random.default_rng(0).standard_normal((2, 8, 6, 7)) * 2 + offset).astype(np.float32)
    (got,), _ = results(of_one(x, NORMS[name], opset=21))
    groups = {"group": 2, "one group": 1, "instance": 8}[name]
    rows = x.astype(np.float64).reshape(2, groups, -1)
    rows = rows - rows.mean(-1, keepdims=True)
    want = rows / np.sqrt((rows**2).mean(-1, keepdims=True) + 1e-5)
    # The mean itself is rounded to a step of the inputs.
    np.testing.assert_allclose(got, want.reshape(x.shape), atol=1e-5 + abs(offset) * 2.0**-23)


def test_softplus_and_atanh_keep_small_numbers() -> None:
    small = f32(-5, -10, -20, -30, -80)
    (got,), _ = results(of_one(small, lambda n, x: n.op("Softplus", x)))
    np.testing.assert_allclose(got, np.log1p(np.exp(small.astype(np.float64))), rtol=1e-6)
    small = f32(1e-3, -1e-3, 1e-8, 1e-20, -0.5, 0.999)
    (got,), _ = results(of_one(small, lambda n, x: n.op("Atanh", x)))
    np.testing.assert_allclose(got, np.arctanh(small.astype(np.float64)), rtol=1e-6)


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("stride, dilation", [(2, 1), (3, 1), (2, 2), (4, 1)])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_reads_nothing_between_its_taps(
    kernel: int, stride: int, dilation: int, groups: int
) -> None:
    """Where no tap meets the input there is the bias, whatever is infinite nearby."""
    net = Net(0)
    values = np.tile(f32(1, INF, 2, NAN, 3, -INF, 4, 5, 6).reshape(1, 1, 3, 3), (1, 2, 1, 1))
    x = net.input(1, 2, 3, 3, values=values)
    made = net.op(
        "ConvTranspose", x, net.random(2, 2 // groups, kernel, kernel), f32(0.5, -0.5),
        strides=[stride] * 2, dilations=[dilation] * 2, group=groups,
    )  # fmt: skip
    net.outputs = [net.op("Add", net.op("Relu", made), made)]
    (got,), (want,) = results(net)
    assert_same([got], [want])


EMPTY: dict[str, Callable[[Net, str], str]] = {
    "MatMul": lambda n, x: n.op("MatMul", x, np.zeros((0, 5), np.float32)),
    "Gemm": lambda n, x: n.op("Gemm", x, np.zeros((0, 3), np.float32), f32(1, 2, 3)),
    "two": lambda n, x: n.op("MatMul", x, n.op("Transpose", x, perm=[1, 0])),
    "Einsum": lambda n, x: n.op("Einsum", x, np.zeros((0, 5), np.float32), equation="ab,bc->ac"),
    **{op: lambda n, x, op=op: n.op(op, x, np.array([1])) for op in (
        "ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL2")},
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_a_reduction_of_nothing_gives_what_it_starts_from(name: str) -> None:
    def write(net: Net, x: str) -> str:
        return EMPTY[name](net, net.op("Slice", x, *(np.array([k]) for k in (0, 0, 1))))

    assert_same(*results(of_one(f32(*range(12)).reshape(3, 4), write)))


DOUBLES: dict[str, Callable[[Net, str], str]] = {
    "Clip": lambda n, x: n.op("Clip", x, np.array(-1.0), np.array(1 / 3)),
    "Relu": lambda n, x: n.op("Relu", x),
    "Max": lambda n, x: n.op("Max", x, np.array(1 / 3)),
    "Min": lambda n, x: n.op("Min", n.op("Neg", x), x),
    "affine": lambda n, x: n.op("Add", n.op("Mul", x, np.array(1 / 3)), np.array(1 / 7)),
    "Sqrt": lambda n, x: n.op("Div", n.op("Sqrt", n.op("Abs", x)), np.array(3.0)),
}


@pytest.mark.parametrize("name", DOUBLES)
def test_float64_stays_float64_and_keeps_not_a_number(name: str) -> None:
    (got,), (want,) = results(of_one(HARD.astype(np.float64), DOUBLES[name]))
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_a_cast_to_float16_and_back_rounds(dtype: str) -> None:
    """And gives infinity beyond 65504, as the network asks for."""
    finite = np.array([0.1, 88.7, 1e-3, 65519, 65520, 1e5, -7e4, 2049, 1e-9, 1e-7])
    net = of_one(
        finite.astype(dtype),
        lambda n, x: n.op("Mul", n.op("Cast", n.op("Cast", x, to=10), to=1), f32(3)),
    )
    (got,), (want,) = results(net)
    np.testing.assert_array_equal(got, want)
