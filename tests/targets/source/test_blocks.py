# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Tensors quantised with a scale for each block of elements, against ONNX's reference."""

from __future__ import annotations

import io

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

KINDS = {"int8": np.int8, "uint8": np.uint8, "int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4}
LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int4": (-8, 7), "uint4": (0, 15)}


def numbers(net: Net, kind: str, *shape: int) -> Array:
    """Numbers of a type, from its least to its largest."""
    low, high = LIMITS[kind]
    return net.rng.integers(low, high + 1, shape).astype(KINDS[kind])


def agrees(net: Net, *, peer: bool = True, rtol: float = 0.0) -> None:
    """What is compiled gives what the reference gives, and onnxruntime."""
    proto = of_any_types(net)
    got = computed(compiled(proto), proto, net.inputs)
    wants = [ReferenceEvaluator(proto).run(None, net.inputs)]
    wants += [wanted(proto, net.inputs)] if peer else []
    for want in wants:
        for one, other in zip(got, map(np.asarray, want), strict=True):
            np.testing.assert_allclose(one, other, rtol, rtol * np.abs(other).max())


@pytest.mark.parametrize("opset", [21, 23])
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("kind", KINDS)
def test_stored_weights_have_a_scale_for_each_block(
    kind: str, axis: int, zero: bool, opset: int
) -> None:
    net = Net(0, opset)
    blocks = (2, 32) if axis == 0 else (64, 1)
    scale = net.positive(*blocks)
    more = [numbers(net, kind, *blocks)] if zero else []
    weights = net.op(
        "DequantizeLinear", numbers(net, kind, 64, 32), scale, *more, axis=axis, block_size=32
    )
    net.outputs = [net.op("Add", net.input(64, 32), weights)]
    agrees(net)


@pytest.mark.parametrize("kind", KINDS)
def test_products_with_such_weights(kind: str) -> None:
    net = Net(0, 21)
    weights = net.op(
        "DequantizeLinear", numbers(net, kind, 64, 24), net.positive(2, 24), axis=0, block_size=32
    )
    net.outputs = [net.op("MatMul", net.input(5, 64), weights)]
    agrees(net, rtol=1e-6)


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_the_last_block_may_be_shorter(kind: str) -> None:
    net = Net(0, 21)
    weights = net.op(
        "DequantizeLinear", numbers(net, kind, 2, 10, 3), net.positive(2, 3, 3), axis=1,
        block_size=4,
    )  # fmt: skip
    net.outputs = [net.op("Add", net.input(2, 10, 3), weights)]
    agrees(net)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("zero", [False, True])
def test_what_arrives_in_bytes_has_a_scale_for_each_block(kind: str, zero: bool) -> None:
    net = Net(0, 21)
    x = net.input(4, 32, values=numbers(net, kind, 4, 32))
    more = [numbers(net, kind, 4, 2)] if zero else []
    made = net.op("DequantizeLinear", x, net.positive(4, 2), *more, axis=1, block_size=16)
    net.outputs = [net.op("Relu", made)]
    agrees(net)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_floats_become_bytes_with_a_scale_for_each_block(kind: str) -> None:
    net = Net(0, 21)
    scale, zero = net.positive(4, 2) / 16, numbers(net, kind, 4, 2)
    given = {"axis": 1, "block_size": 16}
    made = net.op("QuantizeLinear", net.input(4, 32), scale, zero, **given)
    net.outputs = [net.op("DequantizeLinear", made, scale, zero, **given)]
    agrees(net)


def test_scales_in_float16_may_give_float32() -> None:
    net = Net(0, 23)
    scale = net.positive(4, 2).astype(np.float16)
    weights = net.op(
        "DequantizeLinear", numbers(net, "int4", 4, 32), scale, axis=1, block_size=16,
        output_dtype=TensorProto.FLOAT,
    )  # fmt: skip
    net.outputs = [net.op("Add", net.input(4, 32), weights)]
    agrees(net, peer=False)


def test_scales_of_blocks_that_are_computed_are_refused_by_name() -> None:
    net = Net(0, 21)
    scale = net.op("Abs", net.input(4, 2))
    net.outputs = [
        net.op("DequantizeLinear", numbers(net, "int8", 4, 32), scale, axis=1, block_size=16)
    ]
    loaded = splitc.load(onnx.load(io.BytesIO(of_any_types(net).SerializeToString())))
    with pytest.raises(UnsupportedOpError, match="cannot be compiled") as found:
        refuse_unsupported(TvmBackend(), loaded, "network")
    assert "scales and weights have to be stored" in found.value.why
