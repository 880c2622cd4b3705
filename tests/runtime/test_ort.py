# SPDX-License-Identifier: Apache-2.0
"""The oracle computes what the file says, in the arithmetic that the file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto, helper

import splitc
from splitc.runtime.ort import Session
from tests.helpers import model_of, save

SCALE = np.array(0.02, np.float32)


def dequantised_product() -> ModelProto:
    """x (4, 256) times int8 weights that are dequantised first, between two activations."""
    weights = np.random.default_rng(0).integers(-128, 128, (256, 64)).astype(np.int8)
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("DequantizeLinear", ["w", "s"], ["wf"], "dequantise"),
        helper.make_node("MatMul", ["r", "wf"], ["p"], "product"),
        helper.make_node("Tanh", ["p"], ["y"], "tanh"),
    ]
    return model_of(nodes, {"x": [4, 256]}, ["p", "y"], {"w": weights, "s": SCALE}, opset=21)


def test_a_product_of_dequantised_weights_keeps_float_activations() -> None:
    proto = dequantised_product()
    weights = np.frombuffer(proto.graph.initializer[0].raw_data, np.int8).reshape(256, 64)
    x = np.random.default_rng(1).standard_normal((4, 256)).astype(np.float32)
    want = np.maximum(x, 0).astype(np.float64) @ (weights * SCALE.astype(np.float64))
    (got,) = Session(proto.SerializeToString()).run(["p"], {"x": x})
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.ptp(want))


def test_a_bundle_of_it_is_verified(tmp_path: Path) -> None:
    path = save(dequantised_product(), tmp_path / "product.onnx")
    bundle = splitc.compile(path, cut="relu", head="host", output=tmp_path / "product.splitc")
    found = bundle.verify()
    assert found.passed
    assert found.worst.relative < 1e-5
