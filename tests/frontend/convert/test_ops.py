# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Every converter of an ONNX operator against onnxruntime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

torch = pytest.importorskip("torch", reason="needs torch")

import splitc  # noqa: E402
from splitc.errors import BadModelError, UnsupportedOpError  # noqa: E402
from splitc.frontend.convert import converted_ops  # noqa: E402
from splitc.ir.printing import print_graph  # noqa: E402
from tests.frontend.convert.converting import assert_converts, one_node, weights  # noqa: E402
from tests.helpers import model_of  # noqa: E402

RNG = np.random.default_rng(0)
FEW = settings(max_examples=25, deadline=None, derandomize=True)
LONG = np.int64


def ints(*values: int) -> Any:
    return np.array(values, LONG)


ELEMENTWISE = (
    "Abs", "Neg", "Exp", "Floor", "Ceil", "Round", "Sign", "Erf", "Sin", "Cos", "Atan", "Sinh",
    "Cosh", "Asinh", "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "HardSwish", "Mish",
    "IsNaN", "IsInf", "LeakyRelu", "Elu", "Celu", "Selu", "Gelu", "HardSigmoid",
    "ThresholdedRelu", "Shrink", "Identity", "Reciprocal",
)  # fmt: skip


@pytest.mark.parametrize("op", ELEMENTWISE)
def test_an_operator_of_one_operand(op: str) -> None:
    assert_converts(one_node(op, {"x": [2, 3, 4]}))


@pytest.mark.parametrize("op", ["Sqrt", "Log", "Asin", "Acos", "Atanh", "Acosh", "Tan"])
def test_an_operator_where_it_is_defined(op: str) -> None:
    x = np.linspace(1.1, 3, 12) if op == "Acosh" else np.linspace(0.05, 0.95, 12)
    assert_converts(one_node(op, {"x": [12]}), feed={"x": x.astype(np.float32)})


@pytest.mark.parametrize(
    ("op", "settings_"),
    [
        ("LeakyRelu", {"alpha": 0.3}), ("Elu", {"alpha": 0.5}), ("Celu", {"alpha": 2.0}),
        ("Selu", {"alpha": 1.1, "gamma": 2.0}), ("Gelu", {"approximate": "tanh"}),
        ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}), ("HardSigmoid", {"alpha": 0.4}),
        ("ThresholdedRelu", {"alpha": 0.2}), ("Shrink", {"lambd": 0.3, "bias": 0.1}),
        ("IsInf", {"detect_negative": 0}), ("LpNormalization", {"axis": 1, "p": 1}),
        ("Trilu", {"upper": 0}), ("CastLike", {}), ("Flatten", {"axis": 2}),
        ("Flatten", {"axis": 0}), ("Hardmax", {"axis": 1}), ("Transpose", {}),
        ("Transpose", {"perm": [0, 2, 1]}), ("Softmax", {"axis": 1}),
        ("LogSoftmax", {"axis": -1}), ("ArgMax", {"axis": 1, "keepdims": 0}),
        ("ArgMin", {"axis": -1, "select_last_index": 1}),
        ("Cast", {"to": TensorProto.INT32}), ("Cast", {"to": TensorProto.BOOL}),
    ],
)  # fmt: skip
def test_an_operator_with_attributes(op: str, settings_: dict[str, Any]) -> None:
    constants = {"like": np.zeros(1, np.float16)} if op == "CastLike" else {}
    assert_converts(one_node(op, {"x": [2, 3, 4]}, constants, **settings_))


@pytest.mark.parametrize(
    "op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Equal", "Greater", "Less",
           "GreaterOrEqual", "LessOrEqual", "Pow"],
)  # fmt: skip
@pytest.mark.parametrize("stored", [False, True])
def test_operands_broadcast_computed_or_stored(op: str, stored: bool) -> None:
    a = np.abs(weights(RNG, 2, 3, 4)) + 0.5
    b = np.abs(weights(RNG, 4)) + 0.5
    if stored:
        assert_converts(one_node(op, {"a": a.shape}, {"b": b}), feed={"a": a})
    else:
        assert_converts(one_node(op, {"a": a.shape, "b": b.shape}), feed={"a": a, "b": b})


def typed(op: str, dtype: int, left: Any, right: Any, **attributes: Any) -> None:
    """A node over two inputs of an element type that is no float."""
    proto = one_node(op, {"a": left.shape, "b": right.shape}, **attributes)
    for value in proto.graph.input:
        value.type.tensor_type.elem_type = dtype
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_empty_tensor_value_info("y"))
    assert_converts(proto, feed={"a": left, "b": right})


@pytest.mark.parametrize("fmod", [0, 1])
def test_integers_divide_towards_zero_and_keep_a_remainders_sign(fmod: int) -> None:
    left, right = np.array([7, -7, 7, -7], np.int32), np.array([2, 2, -2, -2], np.int32)
    typed("Div", TensorProto.INT32, left, right)
    typed("Mod", TensorProto.INT32, left, right, fmod=fmod)


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_logic(op: str) -> None:
    left = np.array([True, True, False, False])
    typed(op, TensorProto.BOOL, left, np.array([True, False, True, False]))


def test_clip_by_attributes_constants_or_computed_bounds() -> None:
    low, high = np.array(-0.5, np.float32), np.array(0.7, np.float32)
    assert_converts(one_node("Clip", {"x": [9]}, opset=8, min=-0.5, max=0.7))
    _, six = assert_converts(one_node("Clip", {"x": [9]}, {"a": np.float32(0), "b": np.float32(6)}))
    assert isinstance(six.module.get_submodule("node"), torch.nn.ReLU6)
    assert_converts(one_node("Clip", {"x": [9]}, {"b": high}, order=["x", "", "b"]))
    assert_converts(one_node("Clip", {"x": [9], "a": []}), feed={"x": weights(RNG, 9), "a": low})
    assert_converts(
        one_node("Clip", {"x": [9], "b": []}, order=["x", "", "b"]),
        feed={"x": weights(RNG, 9), "b": high},
    )


@pytest.mark.parametrize("shape", [[3, 1, 1], [1], [5, 5]])
def test_prelu_by_channel_or_element(shape: list[int]) -> None:
    assert_converts(one_node("PRelu", {"x": [2, 3, 5, 5]}, {"s": weights(RNG, *shape)}))


def test_where_chooses() -> None:
    nodes = [
        helper.make_node("Greater", ["x", "zero"], ["c"], "c"),
        helper.make_node("Where", ["c", "x", "other"], ["y"], "w"),
    ]
    zero = {"zero": np.zeros((), np.float32), "other": weights(RNG, 4)}
    assert_converts(model_of(nodes, {"x": [3, 4]}, ["y"], zero))


@st.composite
def windows(draw: st.DrawFn, *, dilated: bool = True) -> dict[str, Any]:
    """Extents and attributes of a window over one to three axes that gives a result."""
    rank = draw(st.integers(1, 3))
    kernel = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    steps = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    rates = (
        draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank)) if dilated else [1] * rank
    )
    size = draw(st.lists(st.integers(5, 8), min_size=rank, max_size=rank))
    found: dict[str, Any] = {"size": size, "kernel_shape": kernel, "strides": steps}
    if dilated:
        found["dilations"] = rates
    auto = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto == "NOTSET":
        most = [k - 1 for k in kernel]
        found["pads"] = [draw(st.integers(0, min(n, 2))) for n in (*most, *most)]
    else:
        # onnxruntime refuses dilation here, and windows that elements are left out between
        found["auto_pad"] = auto
        found["strides"] = [min(step, k) for step, k in zip(steps, kernel, strict=True)]
        found.pop("dilations", None)
    return found


@FEW
@given(windows(), st.sampled_from([(1, 2, 3), (2, 2, 4), (4, 4, 4)]), st.booleans(), st.booleans())
def test_convolution(
    window: dict[str, Any], channels: tuple[int, int, int], biased: bool, stored: bool
) -> None:
    group, inside, outside = channels
    w = weights(RNG, outside, inside // group, *window["kernel_shape"])
    x = [2, inside, *window.pop("size")]
    more = {"b": weights(RNG, outside)} if biased else {}
    if stored:
        proto = one_node("Conv", {"x": x}, {"w": w, **more}, group=group, **window)
    else:
        proto = one_node("Conv", {"x": x, "w": w.shape}, more, group=group, **window)
    model, made = assert_converts(proto)
    if stored:
        assert print_graph(made.graph) == print_graph(model.graph)


@FEW
@given(windows(), st.sampled_from([(1, 2, 3), (2, 4, 2)]), st.booleans(), st.data())
def test_transposed_convolution(
    window: dict[str, Any], channels: tuple[int, int, int], biased: bool, data: st.DataObject
) -> None:
    group, inside, outside = channels
    extra = [data.draw(st.integers(0, step - 1)) for step in window["strides"]]
    w = weights(RNG, inside, outside, *window["kernel_shape"])
    x = [2, inside, *window.pop("size")]
    more = {"b": weights(RNG, outside * group)} if biased else {}
    if "auto_pad" not in window:
        window["output_padding"] = extra
    proto = one_node("ConvTranspose", {"x": x}, {"w": w, **more}, group=group, **window)
    assert_converts(proto)


@FEW
@given(windows(), st.booleans())
def test_max_pooling(window: dict[str, Any], ceil: bool) -> None:
    assume(not ceil or "auto_pad" not in window)
    x = [2, 3, *window.pop("size")]
    assert_converts(one_node("MaxPool", {"x": x}, opset=22, ceil_mode=int(ceil), **window))


@FEW
@given(windows(dilated=False), st.booleans(), st.booleans())
def test_average_pooling(window: dict[str, Any], ceil: bool, count: bool) -> None:
    assume(not ceil or "auto_pad" not in window)
    x = [2, 3, *window.pop("size")]
    proto = one_node(
        "AveragePool",
        {"x": x},
        opset=22,
        ceil_mode=int(ceil),
        count_include_pad=int(count),
        **window,
    )
    assert_converts(proto)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("size", [[5], [3, 4], [2, 3, 4]])
def test_global_pooling(op: str, size: list[int]) -> None:
    assert_converts(one_node(op, {"x": [2, 3, *size]}))


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("shift", [None, (), (1,), (4,), (1, 4), (3, 1), (3, 4)])
def test_gemm(alpha: float, turned: tuple[int, int], shift: Any) -> None:
    a, b = ([5, 3] if turned[0] else [3, 5]), weights(RNG, *((4, 5) if turned[1] else (5, 4)))
    more = {} if shift is None else {"c": weights(RNG, *shift)}
    proto = one_node(
        "Gemm", {"a": a}, {"b": b, **more}, alpha=alpha, beta=0.25, transA=turned[0],
        transB=turned[1],
    )  # fmt: skip
    assert_converts(proto)


@pytest.mark.parametrize("right", [(4, 5), (2, 4, 5), (4,)])
@pytest.mark.parametrize("left", [(3, 4), (2, 3, 4), (4,)])
def test_matrix_products(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    assert_converts(one_node("MatMul", {"a": left}, {"b": weights(RNG, *right)}))
    assert_converts(one_node("MatMul", {"a": left, "b": right}))


@pytest.mark.parametrize("equation", ["bij, bjk -> bik", "...ij,...jk->...ik", "bij,bjk->b"])
def test_einsum(equation: str) -> None:
    assert_converts(one_node("Einsum", {"a": [2, 3, 4], "b": [2, 4, 3]}, equation=equation))


@pytest.mark.parametrize("size", [[], [5], [5, 5], [2, 3, 4]])
def test_batch_normalisation(size: list[int]) -> None:
    stored = {n: np.abs(weights(RNG, 3)) + 0.1 for n in ("scale", "bias", "mean", "variance")}
    _, made = assert_converts(one_node("BatchNormalization", {"x": [2, 3, *size]}, stored))
    assert type(made.module.get_submodule("node")).__name__.startswith("BatchNorm")


def test_other_normalisations() -> None:
    x = {"x": [2, 6, 4, 5]}
    pair = {"s": weights(RNG, 6), "b": weights(RNG, 6)}
    rows = {"s": weights(RNG, 4, 5), "b": weights(RNG, 4, 5)}
    assert_converts(one_node("InstanceNormalization", x, pair, epsilon=1e-3))
    assert_converts(one_node("LayerNormalization", x, rows, axis=-2))
    assert_converts(one_node("LayerNormalization", x, {"s": weights(RNG, 5)}))
    assert_converts(one_node("GroupNormalization", x, pair, opset=21, num_groups=3))
    assert_converts(one_node("MeanVarianceNormalization", x, axes=[0, 2, 3]), 1e-4)
    for size in (3, 5):
        assert_converts(one_node("LRN", x, size=size, alpha=0.1, beta=0.6, bias=2.0))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_an_old_softmax_runs_over_the_axes_behind_too(op: str, axis: int) -> None:
    if axis < 0:
        assert_converts(one_node(op, {"x": [2, 3, 4]}, opset=11, axis=axis))
    else:
        assert_converts(one_node(op, {"x": [2, 3, 4]}, opset=9, axis=axis))


REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1",
              "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceLogSum")  # fmt: skip


@pytest.mark.parametrize("op", REDUCTIONS)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    axes=st.one_of(st.none(), st.sets(st.sampled_from([0, 1, -1]), min_size=1)),
    keep=st.integers(0, 1), opset=st.sampled_from([11, 13, 18]),
)  # fmt: skip
def test_reduction_by_attribute_or_operand(
    op: str, axes: set[int] | None, keep: int, opset: int
) -> None:
    feed = {"x": np.abs(weights(RNG, 2, 3, 4)) + 0.1}
    given_: dict[str, Any] = {} if axes is None else {"axes": sorted(axes)}
    if opset >= 18 or (op == "ReduceSum" and opset >= 13):
        stored = {name: ints(*value) for name, value in given_.items()}
        proto = one_node(op, {"x": [2, 3, 4]}, stored, opset=opset, keepdims=keep)
    else:
        proto = one_node(op, {"x": [2, 3, 4]}, opset=opset, keepdims=keep, **given_)
    assert_converts(proto, feed=feed)


def test_running_sums_and_the_largest() -> None:
    for exclusive, reverse in ((0, 0), (1, 0), (0, 1), (1, 1)):
        proto = one_node("CumSum", {"x": [3, 4]}, {"axis": np.array(1, LONG)},
                         exclusive=exclusive, reverse=reverse)  # fmt: skip
        assert_converts(proto)
    for largest in (0, 1):
        proto = one_node("TopK", {"x": [3, 5]}, {"k": ints(2)}, results=("v", "i"), axis=1,
                         largest=largest)  # fmt: skip
        assert_converts(proto)
        ties = np.array([[1, 3, 3, 1, 1], [2, 2, 2, 2, 2], [0, 1, 0, 1, 0]], np.float32)
        assert_converts(proto, feed={"x": ties})


@pytest.mark.parametrize("shape", [(0, -1), (-1, 4), (2, 3, 2, 2), (24,), (2, -1, 2)])
def test_reshape(shape: tuple[int, ...]) -> None:
    assert_converts(one_node("Reshape", {"x": [2, 3, 4]}, {"shape": ints(*shape)}))


def test_axes_of_one_element_come_and_go() -> None:
    x = {"x": [2, 1, 3, 1]}
    assert_converts(one_node("Squeeze", x))
    assert_converts(one_node("Squeeze", x, {"axes": ints(-1)}))
    assert_converts(one_node("Squeeze", x, opset=11, axes=[1]))
    assert_converts(one_node("Unsqueeze", x, {"axes": ints(0, -1)}))
    assert_converts(one_node("Unsqueeze", x, opset=11, axes=[5, 1]))


def test_parts_and_copies() -> None:
    x = {"x": [2, 7, 3]}
    parts = ("a", "b", "c")
    assert_converts(one_node("Split", x, {"s": ints(2, 4, 1)}, results=parts, axis=1))
    assert_converts(one_node("Split", x, results=parts, axis=1, num_outputs=3))
    assert_converts(one_node("Split", x, opset=11, results=parts, axis=1, split=[2, 4, 1]))
    assert_converts(
        one_node("Concat", {"a": [2, 3], "b": [2, 4]}, {"c": weights(RNG, 2, 1)}, axis=-1)
    )
    assert_converts(one_node("Expand", {"x": [3, 1]}, {"s": ints(2, 1, 4)}))
    assert_converts(one_node("Tile", {"x": [2, 3]}, {"r": ints(2, 3)}))
    for mode in ("DCR", "CRD"):
        assert_converts(one_node("DepthToSpace", {"x": [2, 8, 3, 4]}, blocksize=2, mode=mode))
    assert_converts(one_node("SpaceToDepth", {"x": [2, 3, 4, 6]}, blocksize=2))


@FEW
@given(st.data())
def test_slice(data: st.DataObject) -> None:
    axes = data.draw(st.lists(st.sampled_from([0, 1, -1]), min_size=1, max_size=3, unique=True))
    places = st.one_of(st.integers(-7, 7), st.sampled_from([-(2**63), 2**63 - 1]))
    draw = [(data.draw(places), data.draw(places)) for _ in axes]
    steps = [data.draw(st.sampled_from([1, 2, 3, -1, -2])) for _ in axes]
    extents = (3, 5, 6)
    assume(all(len(range(extents[a])[slice(*_python(s, e, k, extents[a]))])
               for a, (s, e), k in zip(axes, draw, steps, strict=True)))  # fmt: skip
    stored = {"s": ints(*(s for s, _ in draw)), "e": ints(*(e for _, e in draw)),
              "a": ints(*axes), "k": ints(*steps)}  # fmt: skip
    assert_converts(one_node("Slice", {"x": extents}, stored))


def _python(start: int, end: int, step: int, extent: int) -> tuple[int | None, int | None, int]:
    """ONNX's bounds for Python: one before the first element is None, not the last."""
    start, end = (n + extent if n < 0 else n for n in (start, end))
    if step > 0:
        return max(start, 0), max(end, 0), step
    return min(max(start, 0), extent - 1), None if end < 0 else end, step


@FEW
@given(st.data())
def test_padding(data: st.DataObject) -> None:
    mode = data.draw(st.sampled_from(["constant", "reflect", "edge", "wrap"]))
    shape = data.draw(st.sampled_from([[4, 5], [2, 3, 4, 5], [2, 3, 4]]))
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    least = -1 if mode == "constant" else 0
    most = [shape[a] - 1 if mode in ("reflect", "wrap") else 4 for a in axes]
    pads = [data.draw(st.integers(least, n)) for n in (*most, *most)]
    stored = {"p": ints(*pads), "v": np.float32(1.5), "a": ints(*axes)}
    assert_converts(one_node("Pad", {"x": shape}, stored, opset=19, mode=mode))


def test_padding_by_attributes() -> None:
    assert_converts(one_node("Pad", {"x": [2, 3]}, opset=8, pads=[0, 1, 2, 0], value=-1.0))


@FEW
@given(st.data())
def test_resize(data: st.DataObject) -> None:
    mode = data.draw(st.sampled_from(["nearest", "linear", "cubic"]))
    way = data.draw(st.sampled_from(
        ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]))  # fmt: skip
    size = data.draw(st.sampled_from([(3, 4), (5, 2)]))
    scales = [data.draw(st.sampled_from([1.0, 2.0, 3.0, 0.5, 1.5])) for _ in size]
    target = [math.floor(n * s) for n, s in zip(size, scales, strict=True)]
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": way}
    if mode == "nearest":
        attributes["nearest_mode"] = data.draw(st.sampled_from(
            ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]))  # fmt: skip
    elif mode == "cubic":
        attributes["cubic_coeff_a"] = data.draw(st.sampled_from([-0.75, -0.5]))
        attributes["exclude_outside"] = data.draw(st.integers(0, 1))
    if data.draw(st.booleans()):
        stored = {"scales": np.array([1, 1, *scales], np.float32)}
        proto = one_node(
            "Resize", {"x": [1, 2, *size]}, stored, order=["x", "", "scales"], **attributes
        )
    else:
        stored = {"sizes": ints(1, 2, *target)}
        proto = one_node(
            "Resize", {"x": [1, 2, *size]}, stored, order=["x", "", "", "sizes"], **attributes
        )
    assert_converts(proto, 1e-4)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_an_old_resize_counts_from_the_corner(mode: str) -> None:
    stored = {"s": np.array([1, 1, 2, 3], np.float32)}
    assert_converts(one_node("Upsample", {"x": [1, 2, 3, 4]}, stored, opset=9, mode=mode))
    assert_converts(one_node("Resize", {"x": [1, 2, 3, 4]}, stored, opset=10, mode=mode))
    shorter = {"s": np.array([1, 1, 0.7, 2.3], np.float32)}
    assert_converts(one_node("Resize", {"x": [1, 2, 13, 4]}, shorter, opset=10, mode=mode))


def test_the_usual_resizes_are_pytorchs_own() -> None:
    for mode, way in (("nearest", "asymmetric"), ("linear", "half_pixel"), ("cubic", "half_pixel")):
        attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": way}
        if mode == "nearest":
            attributes["nearest_mode"] = "floor"
        stored = {"s": np.array([1, 1, 2, 2], np.float32)}
        proto = one_node("Resize", {"x": [1, 2, 3, 4]}, stored, order=["x", "", "s"], **attributes)
        model, made = assert_converts(proto, 1e-4)
        assert isinstance(made.module.get_submodule("node"), torch.nn.Upsample)
        assert print_graph(made.graph) == print_graph(model.graph).replace(", params=16", "")


@pytest.mark.parametrize("places", [(1,), (-1, 0, 2), ()])
def test_gather_by_stored_places(places: tuple[int, ...]) -> None:
    stored = np.array(-2, LONG) if not places else ints(*places)
    for axis in (0, 1, -1):
        assert_converts(one_node("Gather", {"x": [3, 4, 5]}, {"i": stored}, axis=axis))


def with_places(op: str, x: Sequence[int], places: Any, *more: str, **attributes: Any) -> None:
    """A node that reads a float tensor and computed places."""
    inputs: dict[str, Any] = {"x": x, "i": places.shape, **dict.fromkeys(more, places.shape)}
    proto = one_node(op, inputs, opset=18, **attributes)
    proto.graph.input[1].type.tensor_type.elem_type = TensorProto.INT64
    feed = {"x": weights(RNG, *x), "i": places}
    assert_converts(proto, feed={**feed, **{name: weights(RNG, *places.shape) for name in more}})


def test_computed_places() -> None:
    places = np.array([[0, -1, 2], [1, 1, 0]], LONG)
    with_places("Gather", [3, 4], places, axis=0)
    with_places("Gather", [4, 3], places, axis=1)
    with_places("GatherElements", [3, 3], places, axis=0)
    with_places("GatherND", [3, 4, 3], places)
    for reduction in ("none", "add", "max"):
        unique = np.array([[0, 1, 2], [2, 0, 1]], LONG)
        with_places("ScatterElements", [3, 3], unique, "u", axis=0, reduction=reduction)


def test_a_stored_table_is_trained() -> None:
    proto = one_node("Gather", {"i": [2, 3]}, {"t": weights(RNG, 5, 4)}, order=["t", "i"])
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    _, made = assert_converts(proto, feed={"i": np.array([[0, 4, -1], [2, 2, 1]], LONG)})
    assert [tuple(p.shape) for p in made.module.parameters()] == [(5, 4)]


def test_one_hot() -> None:
    stored = {"d": np.array(4, LONG), "v": np.array([-1, 2], np.float32)}
    proto = one_node("OneHot", {"i": [2, 3]}, stored, axis=1)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    assert_converts(proto, feed={"i": np.array([[0, 3, -1], [1, 2, 0]], LONG)})


def test_attention() -> None:
    x = {name: [2, 3, 4, 6] for name in ("q", "k", "v")}
    proto = one_node("Attention", x, opset=23, is_causal=1)
    try:
        assert_converts(proto, 1e-4)
    except BadModelError as error:
        pytest.skip(f"onnxruntime has none: {error.why[:80]}")


@pytest.mark.parametrize(
    ("op", "inputs", "stored", "attributes", "why"),
    [
        ("AveragePool", {"x": [1, 1, 8, 8]}, {}, {"kernel_shape": [2, 2], "dilations": [2, 2]},
         "dilated"),
        ("LRN", {"x": [1, 6, 4]}, {}, {"size": 4}, "even size"),
        ("Resize", {"x": [1, 1, 4, 4]},
         {"roi": np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32),
          "s": np.array([1, 1, 2, 2], np.float32)},
         {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": "linear"}, "tf_crop"),
        ("Resize", {"x": [1, 1, 4, 4]},
         {"roi": np.array([], np.float32), "s": np.array([1, 1, 0.5, 0.5], np.float32)},
         {"antialias": 1, "mode": "linear"}, "antialias"),
        ("Reshape", {"x": [2, 3], "s": [1]}, {}, {}, "depends on data"),
        ("NonZero", {"x": [2, 3]}, {}, {}, "no converter"),
    ],
)  # fmt: skip
def test_what_pytorch_cannot_do_is_refused(
    op: str, inputs: dict[str, Any], stored: dict[str, Any], attributes: Any, why: str
) -> None:
    proto = one_node(op, inputs, stored, opset=19, **attributes)
    if op == "Reshape":
        proto.graph.input[1].type.tensor_type.elem_type = TensorProto.INT64
        del proto.graph.output[:]
        proto.graph.output.append(helper.make_empty_tensor_value_info("y"))
    model = splitc.load(proto, simplify=False)
    with pytest.raises(UnsupportedOpError, match=rf"(?s){op}.*'node'.*{why}"):
        splitc.to_torch(model)


def test_a_pool_has_no_place_for_a_window_beyond_the_data() -> None:
    proto = one_node("MaxPool", {"x": [1, 1, 6]}, kernel_shape=[1], strides=[2], ceil_mode=1)
    for result in proto.graph.output:  # onnx infers a place too many
        result.type.tensor_type.ClearField("shape")
    assert_converts(proto)


def test_small_integers_are_not_computed_with() -> None:
    proto = one_node("Add", {"a": [3], "b": [3]})
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.UINT32
    with pytest.raises(UnsupportedOpError, match="(?s)Add.*PyTorch does not compute with uint32"):
        splitc.to_torch(splitc.load(proto, simplify=False))


def test_the_operators_that_can_be_converted_are_listed() -> None:
    listed = converted_ops()[""]
    assert {"Conv", "ReduceMean", "Resize", "LayerNormalization"} <= set(listed)
    assert list(listed) == sorted(listed)
