# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Weights stored in 8-bit floats or 4 bits; quantisation by the range of what arrives."""

from __future__ import annotations

import io
from collections.abc import Callable

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

import splitc
from splitc.build.refusals import refuse_unsupported
from splitc.errors import UnsupportedOpError
from splitc_targets.backend import TvmBackend
from tests.targets.nets import Array, Net, compiled, computed, of_any_types, wanted

KINDS: dict[str, tuple[type, list[float]]] = {
    "float8_e4m3fn": (ml_dtypes.float8_e4m3fn, [0.5, 1.5, -2, 3, 7, 0.25, -1.75, 448]),
    "float8_e5m2": (ml_dtypes.float8_e5m2, [0.5, 1.5, -2, 3, 7, 0.25, -1.75, 57344]),
    "float8_e4m3fnuz": (ml_dtypes.float8_e4m3fnuz, [0.5, 1.5, -2, 3, 7, 0.25, -1.75, 240]),
    "int4": (ml_dtypes.int4, [1, 2, 3, -4, 7, 0, -8, 2]),
    "uint4": (ml_dtypes.uint4, [1, 2, 3, 15, 7, 0, 6, 2]),
    "float4_e2m1fn": (ml_dtypes.float4_e2m1fn, [0.5, 1.5, -2, 3, 6, 0, -1.5, 4]),
}


def stored(kind: str) -> Array:
    """Eight numbers of a type."""
    dtype, values = KINDS[kind]
    return np.array(values).astype(dtype)


FORMS: dict[str, Callable[[Net, Array], str]] = {
    "one scale": lambda n, w: n.op("DequantizeLinear", w, np.array(0.3, np.float32)),
    "with a zero point": lambda n, w: n.op(
        "DequantizeLinear", w, np.array(0.3, np.float32),
        np.array(3 if "uint" in str(w.dtype) else 0).astype(w.dtype)),
    "a scale for each row": lambda n, w: n.op(
        "DequantizeLinear", w, np.array([0.3, 0.7], np.float32), axis=0),
    "a cast": lambda n, w: n.op("Cast", w, to=TensorProto.FLOAT),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_stored_weights_of_few_bits_are_the_numbers_that_they_are(kind: str, form: str) -> None:
    net = Net(0, 23)
    x = net.input(2, 4, values=np.zeros((2, 4), np.float32))
    net.outputs = [net.op("Add", x, FORMS[form](net, stored(kind).reshape(2, 4)))]
    proto = of_any_types(net)
    (want,) = ReferenceEvaluator(proto).run(None, net.inputs)
    (got,) = computed(compiled(proto), proto, net.inputs)
    np.testing.assert_array_equal(got, want)


def loaded(net: Net) -> splitc.frontend.onnx.OnnxModel:
    file = io.BytesIO(of_any_types(net).SerializeToString())
    return splitc.load(onnx.load(file))


REFUSED: dict[str, tuple[Callable[[Net, str], str], str]] = {
    "cast": (lambda n, x: n.op("Cast", n.op("Cast", x, to=TensorProto.FLOAT8E4M3FN), to=1),
             "float8_e4m3fn is read where it is stored"),
    "saturating": (lambda n, x: n.op("Cast", n.op("Cast", x, to=TensorProto.FLOAT8E5M2), to=1),
                   "float8_e5m2 is read where it is stored"),
    "quantised": (lambda n, x: n.op(
        "DequantizeLinear",
        n.op("QuantizeLinear", x, np.array(0.3, np.float32), stored("float8_e5m2")[5:6] * 0),
        np.array(0.3, np.float32)), "float8_e5m2 is read where it is stored"),
    "four bits": (lambda n, x: n.op(
        "DequantizeLinear",
        n.op("QuantizeLinear", x, np.array(0.3, np.float32), stored("int4")[5]),
        np.array(0.3, np.float32)), "int4 is read where it is stored"),
    "moved": (lambda n, x: n.op("Add", x, n.op(
        "DequantizeLinear", n.op("Transpose", stored("int4").reshape(4, 2)),
        np.array(0.3, np.float32))), "int4"),
    "computed scale": (lambda n, x: n.op("Add", x, n.op(
        "DequantizeLinear", stored("float8_e4m3fn").reshape(2, 4),
        n.op("ReduceMax", x, keepdims=0))), "with a scale that is computed"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_computing_on_few_bits_is_refused_by_name_before_anything_is_priced(name: str) -> None:
    write, why = REFUSED[name]
    net = Net(0, 23)
    net.outputs = [write(net, net.input(2, 4))]
    with pytest.raises(UnsupportedOpError, match="cannot be compiled") as found:
        refuse_unsupported(TvmBackend(), loaded(net), "network")
    assert why in found.value.why
    assert found.value.exit_code == 4


RANGES = {
    "zeros": np.zeros((2, 3)), "positive": np.linspace(0.1, 7, 8), "negative": -np.ones((2, 2)),
    "both": np.linspace(-3, 5, 40), "one": np.full((1, 4), 3.0), "tiny": np.full(4, 1e-42),
    "huge": np.linspace(-1, 2, 9) * 1e38, "ties": np.array([-127.5, 127.5, 0.5, 1.5, 2.5]),
}  # fmt: skip


@pytest.mark.parametrize("name", RANGES)
def test_quantisation_by_the_range_that_arrives(name: str) -> None:
    """All three results, and the values that they stand for."""
    net = Net(0, 20)
    values = RANGES[name].astype(np.float32)
    made = net.ops("DynamicQuantizeLinear", net.input(*values.shape, values=values), results=3)
    net.outputs = [*made, net.op("DequantizeLinear", *made)]
    proto = net.proto()
    got, want = computed(compiled(proto), proto, net.inputs), wanted(proto, net.inputs)
    for ours, theirs in zip(got, want, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_scalars_and_rows_are_quantised_as_they_are(dtype: str) -> None:
    """A tensor without axes stays one; ties go to the even step; scales of each row."""
    limits = np.iinfo(dtype)
    for values, scale, zero in (
        (np.array(0.125), 0.05, 0),
        (np.array([0.025, 0.075, 0.125, -0.025, 1e9, -1e9, 1e-30]), 0.05, int(limits.max) // 2),
        (np.linspace(-9, 9, 42).reshape(2, 21), [0.1, 0.007], [3, int(limits.min)]),
    ):
        net = Net(0, 21)
        given = [np.array(scale, np.float32), np.array(zero, dtype)]
        attributes = {"axis": 0} if np.ndim(scale) else {}
        x = net.input(*values.shape, values=values.astype(np.float32))
        whole = net.op("QuantizeLinear", x, *given, **attributes)
        net.outputs = [whole, net.op("DequantizeLinear", whole, *given, **attributes)]
        proto = net.proto()
        got, want = computed(compiled(proto), proto, net.inputs), wanted(proto, net.inputs)
        for ours, theirs in zip(got, want, strict=True):
            assert ours.shape == theirs.shape
            np.testing.assert_array_equal(ours, theirs)
