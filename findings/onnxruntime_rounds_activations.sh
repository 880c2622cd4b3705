#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# onnxruntime's default session rounds float activations to bytes where a MatMul reads int8
# weights through DequantizeLinear.
#
# ONNX says: DequantizeLinear gives float32 weights, MatMul multiplies them with float32
# activations. No QuantizeLinear stands before the activations. From graph optimisation level
# "extended" on (the default is "all") onnxruntime makes one MatMulNBits of the two, at accuracy
# level 4, which quantises the activations to int8 block by block.
#
# Versions: onnxruntime 1.31.1, onnx 1.23.2, numpy 2.4.6, Python 3.11, x86-64.
# Output seen (largest error over the result's range, against numpy in float64):
#   default                                   2.9e-03
#   ORT_DISABLE_ALL                           1.9e-07
#   ORT_ENABLE_BASIC                          1.9e-07
#   session.disable_quant_qdq=1               1.9e-07
#   session.qdq_matmulnbits_accuracy_level=1  1.9e-07
#   with a default session 14,000 times further off
#
# Consequence: a default session is no oracle for weight-only quantised networks.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
weights = rng.integers(-128, 128, (256, 64)).astype(np.int8)
scale = np.float32(0.02)
x = rng.standard_normal((4, 256)).astype(np.float32)
graph = helper.make_graph(
    [
        helper.make_node("DequantizeLinear", ["w", "s"], ["wf"]),
        helper.make_node("MatMul", ["x", "wf"], ["y"]),
    ],
    "product",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 256])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 64])],
    [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.asarray(scale), "s")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
onnx.checker.check_model(model, full_check=True)
right = x.astype(np.float64) @ (weights * np.float64(scale))


def error(name: str, level: object = None, entry: tuple[str, str] | None = None) -> float:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if level is not None:
        options.graph_optimization_level = level
    if entry is not None:
        options.add_session_config_entry(*entry)
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (y,) = session.run(None, {"x": x})
    found = float(np.abs(y - right).max() / np.ptp(right))
    print(f"{name:40}  {found:.1e}")
    return found


levels = ort.GraphOptimizationLevel
default = error("default")
plain = error("ORT_DISABLE_ALL", levels.ORT_DISABLE_ALL)
error("ORT_ENABLE_BASIC", levels.ORT_ENABLE_BASIC)
for key in ("session.disable_quant_qdq", "session.qdq_matmulnbits_accuracy_level"):
    error(f"{key}=1", entry=(key, "1"))
print(f"with a default session {default / plain:,.0f} times further off")
raise SystemExit(0 if default > 1e-3 and plain < 1e-5 else 1)
EOF
