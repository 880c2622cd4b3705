# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportAttributeAccessIssue=false
"""Quantised networks: what stands for their operators, held to onnxruntime and onnx's cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import (
    convinteger,
    dequantizelinear,
    dynamicquantizelinear,
    matmulinteger,
    qlinearconv,
    qlinearmatmul,
    quantizelinear,
)
from onnx.reference import ReferenceEvaluator
from onnxruntime import quantization

import splitc
from splitc.build.compiler import plan
from splitc.bundle.bundle import require
from splitc.cost.board import load_board
from splitc_targets.backend import TvmBackend
from splitc_targets.machine.machine import machine_of
from splitc_targets.source.for_tvm import modern
from splitc_targets.source.quantised import REWRITTEN, in_floats
from tests.helpers import save, shared, small_network
from tests.targets.nets import compiled, computed

Array = np.ndarray[Any, Any]
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]


def run(proto: ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    """Every result, by onnxruntime as the model stands."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return [np.asarray(each) for each in session.run(None, dict(feeds))]


def one(op: str, inputs: list[Any], x: Array, result: int, domain: str = "",
        **attributes: Any) -> ModelProto:  # fmt: skip
    """A model of one operator; its first input is the model's, arrays are stored."""
    names = ["x", *(f"c{k}" for k in range(1, len(inputs) + 1))]
    stored = [numpy_helper.from_array(a, n) for n, a in zip(names[1:], inputs, strict=True)
              if a is not None]  # fmt: skip
    given = ["x", *("" if a is None else n for n, a in zip(names[1:], inputs, strict=True))]
    node = helper.make_node(op, given, ["y"], "q", domain=domain, **attributes)
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [node], "one", [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("y", result, None)], stored,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=8)


def f32(value: float) -> Array:
    return np.array(value, np.float32)


RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (2, 6, 7, 5), np.uint8)
SIGNED = RNG.integers(-128, 128, (2, 6, 7, 5), np.int8)
FLOATS = (4 * RNG.standard_normal((2, 6, 7, 5))).astype(np.float32)
W = RNG.integers(-127, 128, (4, 6, 3, 3), np.int8)
BIAS = RNG.integers(-3000, 3000, 4, np.int32)
U8, I8, I32, FLOAT = TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32, TensorProto.FLOAT
MS = "com.microsoft"


def u8(value: int) -> Array:
    return np.array(value, np.uint8)


def i8(value: int) -> Array:
    return np.array(value, np.int8)


def convolution(x: Array, zero: Array, *more: Any, **attributes: Any) -> tuple[ModelProto, Array]:
    scale = np.array([0.01, 0.002, 0.03, 0.005], np.float32)
    inputs = [f32(0.02), zero, W, scale, np.zeros(4, np.int8), f32(0.11), zero, *more]
    return one("QLinearConv", inputs, x, U8 if zero.dtype == np.uint8 else I8, **attributes), x


def elementwise(op: str) -> tuple[ModelProto, Array]:
    other = np.random.default_rng(1).integers(0, 256, (6, 1, 1), np.uint8)
    inputs = [f32(0.0312), u8(7), other, f32(0.0197), u8(100), f32(0.1013), u8(90)]
    return one(op, inputs, BYTES, U8, MS), BYTES


def unary(op: str, **attributes: Any) -> tuple[ModelProto, Array]:
    return one(op, [f32(0.0312), u8(120), f32(0.0107), u8(30)], BYTES, U8, MS, **attributes), BYTES


def concatenation() -> tuple[ModelProto, Array]:
    parts = [
        f32(0.0411),
        u8(77),
        None,
        f32(0.0312),
        u8(120),
        BYTES[::-1].copy(),
        f32(0.0197),
        u8(3),
    ]
    proto = one("QLinearConcat", parts, BYTES, U8, MS, axis=1)
    proto.graph.node[0].input[:] = ["c1", "c2", "x", "c4", "c5", "c6", "c7", "c8"]
    return proto, BYTES


def gemm(quantised: bool) -> tuple[ModelProto, Array]:
    x = RNG.integers(0, 256, (3, 8), np.uint8)
    ends = [f32(0.07), u8(140)] if quantised else []
    inputs = [f32(0.02), u8(99), MATRIX, f32(0.004), i8(0), RNG.integers(-900, 900, 5, np.int32)]
    return one("QGemm", [*inputs, *ends], x, U8 if quantised else FLOAT, MS, transB=1), x


def dynamic() -> tuple[ModelProto, Array]:
    """Scale and zero point are results too, which nothing reads here."""
    proto = one("DynamicQuantizeLinear", [], FLOATS, U8)
    proto.graph.node[0].output.extend(["scale", "zero"])
    return proto, FLOATS


MATRIX = RNG.integers(-127, 128, (5, 8), np.int8)
CASES: dict[str, tuple[ModelProto, Array]] = {
    "quantise": (one("QuantizeLinear", [f32(0.05), u8(12)], FLOATS, U8), FLOATS),
    "quantise, signed": (one("QuantizeLinear", [f32(0.05), i8(-3)], FLOATS, I8), FLOATS),
    "quantise, no zero": (one("QuantizeLinear", [f32(0.05)], FLOATS, U8), FLOATS),
    "quantise, halves": (
        one("QuantizeLinear", [f32(2.0), u8(4)], np.arange(-20, 20, dtype=np.float32), U8),
        np.arange(-20, 20, dtype=np.float32),
    ),
    "dequantise": (one("DequantizeLinear", [f32(0.05), u8(12)], BYTES, FLOAT), BYTES),
    "convolve": convolution(BYTES, u8(113), BIAS),
    "convolve, signed": convolution(SIGNED, i8(-5), BIAS, strides=[2, 1], pads=[1, 0, 2, 1]),
    "convolve, no bias": convolution(BYTES, u8(0), pads=[1, 1, 1, 1], dilations=[2, 1]),
    "convolve, integers": (one("ConvInteger", [W, u8(3), i8(2)], BYTES, I32), BYTES),
    "multiply, integers": (one("MatMulInteger", [MATRIX, u8(9), i8(0)], BYTES, I32), BYTES),
    "multiply, quantised": (
        one("QLinearMatMul",
            [f32(0.02), u8(99), MATRIX, f32(0.004), i8(0), f32(0.07), u8(140)], BYTES, U8),
        BYTES,
    ),
    "quantise, by range": dynamic(),
    "add": elementwise("QLinearAdd"),
    "multiply each": elementwise("QLinearMul"),
    "sigmoid": unary("QLinearSigmoid"),
    "leaky relu": unary("QLinearLeakyRelu", alpha=0.2),
    "pool all": unary("QLinearGlobalAveragePool"),
    "softmax": (
        one("QLinearSoftmax", [f32(0.0312), u8(120), f32(1 / 256), u8(0)], BYTES, U8, MS,
            axis=1, opset=13),
        BYTES,
    ),
    "concatenate": concatenation(),
    "gemm": gemm(True),
    "gemm, floats": gemm(False),
    "pool": unary("QLinearAveragePool", kernel_shape=[3, 2], pads=[1, 0, 1, 0]),
}  # fmt: skip

INEXACT = ("add", "multiply each", "sigmoid", "leaky relu", "pool all", "pool", "softmax",
           "concatenate")  # fmt: skip
"""onnxruntime computes these another way: what lies half way between may fall to either side."""


@pytest.mark.parametrize("name", CASES)
def test_the_arithmetic_gives_what_the_operator_gives(name: str) -> None:
    proto, x = CASES[name]
    spelt = in_floats(proto)
    assert {(n.domain, n.op_type) for n in spelt.graph.node}.isdisjoint(REWRITTEN)
    (want,), (got,) = run(proto, {"x": x}), run(spelt, {"x": x})
    assert got.dtype == want.dtype
    far = np.abs(got.astype(np.float64) - want.astype(np.float64))
    if name in INEXACT:
        assert far.max() <= 1
        assert (far != 0).mean() < 0.02
    elif want.dtype == np.float32:
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
    else:
        assert far.max() == 0


def test_every_operator_is_tried() -> None:
    tried = {(n.domain, n.op_type) for proto, _ in CASES.values() for n in proto.graph.node}
    assert tried == set(REWRITTEN)


def conformance() -> Iterator[Any]:
    """Cases of onnx's own for the operators."""
    modules = (convinteger, dequantizelinear, dynamicquantizelinear, matmulinteger, qlinearconv,
               qlinearmatmul, quantizelinear)  # fmt: skip
    assert all(modules), "their cases are made when they are imported"
    made: list[Any] = vars(onnx.backend.test.case.node)["_NodeTestCases"]
    for case in made:
        if any(("", n.op_type) in REWRITTEN for n in case.model.graph.node):
            yield case


def test_onnx_s_own_cases_hold() -> None:
    """Parameters are inputs there; stored, the operators are rewritten where they can be."""
    done: set[str] = set()
    for case in conformance():
        (inputs, outputs) = case.data_sets[0]
        if len(case.model.graph.node) != 1 or any(isinstance(a, TensorProto) for a in inputs):
            continue
        stored = ModelProto()
        stored.CopyFrom(case.model)
        for info, value in list(zip(case.model.graph.input, inputs, strict=True))[1:]:
            stored.graph.initializer.append(numpy_helper.from_array(np.asarray(value), info.name))
        del stored.graph.input[1:]
        spelt = in_floats(modern(stored))
        if any((n.domain, n.op_type) in REWRITTEN for n in spelt.graph.node):
            continue
        results = ReferenceEvaluator(spelt).run(None, {stored.graph.input[0].name: inputs[0]})
        for got, want in zip(results, outputs, strict=True):
            np.testing.assert_allclose(np.asarray(got), want, rtol=1e-6, err_msg=case.name)
        done.add(case.model.graph.node[0].op_type)
    assert done == {op for domain, op in REWRITTEN if not domain}


def test_computed_scales_are_left_alone() -> None:
    proto, _ = CASES["quantise"]
    kept = [t for t in proto.graph.initializer if t.name != "c1"]
    changed = ModelProto()
    changed.CopyFrom(proto)
    del changed.graph.initializer[:]
    changed.graph.initializer.extend(kept)
    changed.graph.input.append(helper.make_tensor_value_info("c1", FLOAT, ()))
    assert [n.op_type for n in in_floats(changed).graph.node] == ["QuantizeLinear"]


def test_a_network_without_quantised_operators_is_the_same_object() -> None:
    proto = small_network()
    assert in_floats(proto) is proto


@pytest.mark.parametrize("multiplier", [1 / 512, 1 / 8, 0.0013])
def test_large_maps_are_exact_too(multiplier: float) -> None:
    """Scales inside of weights would round the sums.

    So does Winograd's algorithm, which cores without products of bytes take where the sums are
    rounded anyway: what lies half way between two may fall to either side.
    """
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (1, 16, 32, 32), np.uint8)
    w = rng.integers(-8, 9, (32, 16, 3, 3), np.int8)
    inputs = [f32(multiplier), u8(0), w, f32(1.0), i8(0), f32(1.0), u8(0)]
    proto = one("QLinearConv", inputs, x, U8, pads=[1, 1, 1, 1])
    (want,) = run(proto, {"x": x})
    for board in ("host", "x86-64-v2"):
        (got,) = computed(compiled(proto, board), proto, {"x": x})
        far = np.abs(got.astype(int) - want.astype(int))
        assert far.max() <= (0 if machine_of(load_board(board)).multiplying("int8") else 1)
    proto = one("ConvInteger", [w, u8(3)], x, I32, pads=[1, 1, 1, 1])
    (got,), (want,) = computed(compiled(proto), proto, {"x": x}), run(proto, {"x": x})
    np.testing.assert_array_equal(got, want)


def test_sums_that_floats_cannot_hold_are_left_alone() -> None:
    wide = np.full((4, 300, 3, 3), 127, np.int8)
    x = np.zeros((1, 300, 5, 5), np.uint8)
    proto = one("ConvInteger", [wide], x, I32)
    assert [n.op_type for n in in_floats(proto).graph.node] == ["ConvInteger"]
    deep = np.full((2001, 3), 127, np.int8)
    proto = one("MatMulInteger", [deep], np.zeros((2, 2001), np.uint8), I32)
    assert [n.op_type for n in in_floats(proto).graph.node] == ["MatMulInteger"]


def test_the_type_that_an_attribute_names_is_kept() -> None:
    proto = one("QuantizeLinear", [f32(0.05)], FLOATS, I8, output_dtype=I8)
    del proto.opset_import[:]
    proto.opset_import.append(helper.make_opsetid("", 21))
    proto.ir_version = 10
    (got,), (want,) = run(in_floats(proto), {"x": FLOATS}), run(proto, {"x": FLOATS})
    assert got.dtype == want.dtype == np.int8
    np.testing.assert_array_equal(got, want)


def test_a_softmax_of_older_opsets_is_left_alone() -> None:
    inputs = [f32(0.0312), u8(120), f32(1 / 256), u8(0)]
    proto = one("QLinearSoftmax", inputs, BYTES, U8, MS, axis=1, opset=12)
    assert [n.op_type for n in in_floats(proto).graph.node] == ["QLinearSoftmax"]


def test_what_a_branch_reads_from_outside_is_kept() -> None:
    proto, x = CASES["quantise"]
    changed = ModelProto()
    changed.CopyFrom(proto)
    changed.graph.initializer.append(numpy_helper.from_array(np.array(5, np.uint8), "far"))
    changed.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    branches = [
        helper.make_graph(
            [helper.make_node("Max", ["y", "far"], [out])], name, [],
            [helper.make_tensor_value_info(out, U8, None)],
        )
        for name, out in (("then", "t"), ("else", "e"))
    ]  # fmt: skip
    changed.graph.node.append(
        helper.make_node(
            "If", ["yes"], ["z"], "branch", then_branch=branches[0], else_branch=branches[1]
        )
    )
    changed.graph.output[0].name = "z"
    (got,), (want,) = run(in_floats(changed), {"x": x}), run(changed, {"x": x})
    np.testing.assert_array_equal(got, want)


def test_between_quantised_operators_nothing_is_narrowed() -> None:
    """Only a result, or what reads it without being known here, needs the integers."""
    first, x = CASES["convolve, no bias"]
    proto = ModelProto()
    proto.CopyFrom(first)
    nodes = [
        helper.make_node("MaxPool", ["y"], ["p"], "pool", kernel_shape=[2, 2]),
        helper.make_node("Split", ["p"], ["s", "t"], "halves", axis=1),
        helper.make_node("Concat", ["t", "s"], ["z"], "swapped", axis=1),
    ]
    proto.graph.node.extend(nodes)
    proto.graph.output[0].name = "z"
    spelt = in_floats(proto)
    casts = [n for n in spelt.graph.node if n.op_type == "Cast"]
    assert [n.output[0] for n in casts if n.output[0] == "z"] == ["z"]
    assert len(casts) == 2, "of the input and of the result"
    np.testing.assert_array_equal(run(spelt, {"x": x})[0], run(proto, {"x": x})[0])


class Reader(quantization.CalibrationDataReader):
    """Random inputs of the small network."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self.left = [
            {"x": rng.standard_normal((1, 3, 12, 12)).astype(np.float32)} for _ in range(8)
        ]

    def get_next(self) -> Any:
        """The next, None at the end."""
        return self.left.pop() if self.left else None


FORMATS = {"qdq": quantization.QuantFormat.QDQ, "operators": quantization.QuantFormat.QOperator}


def quantised(folder: Path, form: str, per_channel: bool) -> Path:
    """The small network quantised by onnxruntime."""
    plain, made = save(small_network(), folder / "plain.onnx"), folder / f"{form}.onnx"
    quantization.quantize_static(
        str(plain), str(made), Reader(), quant_format=FORMATS[form], per_channel=per_channel,
        extra_options={"ForceQuantizeNoInputCheck": True},
    )  # fmt: skip
    return made


@pytest.mark.parametrize("per_channel", [False, True], ids=["one scale", "scale a channel"])
@pytest.mark.parametrize("form", FORMATS)
def test_what_onnxruntime_quantises_compiles(form: str, per_channel: bool, tmp_path: Path) -> None:
    path = quantised(tmp_path, form, per_channel)
    proto = onnx.load(path)
    assert any((n.domain, n.op_type) in REWRITTEN for n in proto.graph.node)
    rows = plan(path, head="rpi4").table.rows
    narrow = [
        row for row in rows
        if row.rejected is None and row.cut.head and row.cut.tail
        and [t.dtype for t in row.cut.boundary] in (["uint8"], ["int8"])
    ]  # fmt: skip
    assert narrow, "it can be cut where a byte a value crosses"
    cut = max(narrow, key=lambda row: len(row.cut.head)).cut.name
    bundle = splitc.compile(path, cut=cut, head="host", output=tmp_path / "q.splitc")
    require(bundle.verify())
    rng = np.random.default_rng(9)
    for _ in range(5):
        x = rng.standard_normal((1, 3, 12, 12)).astype(np.float32)
        (got,), (want,) = bundle.run({"x": x}).values(), run(proto, {"x": x})
        np.testing.assert_allclose(got, want, atol=0.02)
        assert got.argmax() == want.argmax()


def test_a_published_quantised_network_gives_what_onnxruntime_gives(tmp_path: Path) -> None:
    path = shared("onnx/imagenet/shufflenet-v2-12-int8.onnx")
    bundle = splitc.compile(path, cut="428_QuantizeLinear", head="host", output=tmp_path / "s")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 3, 224, 224)).astype(np.float32)
    (got,) = bundle.run({"input": x}).values()
    (want,) = run(onnx.load(path), {"input": x})
    np.testing.assert_allclose(got, want, atol=np.ptp(want) * 0.02)
    assert got.argmax() == want.argmax()


STORED = {"w": W, "zero": np.array(3, np.uint8)}


@pytest.mark.parametrize(
    ("stored", "refused"),
    [
        (STORED, False),
        ({"zero": STORED["zero"]}, True),
        ({"w": W}, False),
        ({**STORED, "w": np.full((1, 6, 30, 30), -128, np.int8)}, True),
    ],
    ids=["stored", "computed weights", "a computed zero point", "sums beyond float32"],
)
def test_a_product_of_integers_that_is_not_written_is_refused_before_lowering(
    stored: dict[str, Array], refused: bool
) -> None:
    declared = {"x": (U8, [1, 6, 40, 40]), "w": (I8, [4, 6, 3, 3]), "zero": (U8, [])}
    graph = helper.make_graph(
        [helper.make_node("ConvInteger", [*declared], ["y"], "product")], "products",
        [helper.make_tensor_value_info(n, *d) for n, d in declared.items() if n not in stored],
        [helper.make_tensor_value_info("y", I32, None)],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )  # fmt: skip
    model = splitc.load(helper.make_model(graph, opset_imports=OPSETS, ir_version=8))
    found = TvmBackend().unsupported(model)
    assert [(each.layer, each.op) for each in found] == [("product", "ConvInteger")] * refused
    assert all("have to be stored" in each.why for each in found)
