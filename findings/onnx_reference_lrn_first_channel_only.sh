#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# onnx's ReferenceEvaluator normalises as many channels of LRN as the batch is large, and leaves
# the other channels as they were.
#
# ONNX says: LRN divides every element by (bias + alpha / size * square_sum)^beta, square_sum over
# the neighbouring channels; with size 1, alpha = beta = bias = 1 that is x / (1 + x^2). The
# reference fills its sums of squares in a loop whose bound is the extent of the batch, not of the
# channels. onnx's own test cases have 5 images of 5 channels, where both are the same.
#
# Versions: onnx 1.23.2, onnxruntime 1.31.1, numpy 2.4.6, Python 3.11, x86-64.
# Output seen, one image of four channels 1 2 3 4:
#   definition          0.5    0.4    0.3    0.235
#   onnxruntime         0.5    0.4    0.3    0.235
#   ReferenceEvaluator  0.5    2      3      4
#
# Consequence: the reference is no oracle for networks with LRN (AlexNet, GoogLeNet).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

shape = [1, 4, 1, 1]
x = np.arange(1, 5, dtype=np.float32).reshape(shape)
graph = helper.make_graph(
    [helper.make_node("LRN", ["x"], ["y"], size=1, alpha=1.0, beta=1.0, bias=1.0)],
    "lrn",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
onnx.checker.check_model(model, full_check=True)
session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
right = x / (1 + x * x)
theirs = session.run(None, {"x": x})[0]
reference = ReferenceEvaluator(model).run(None, {"x": x})[0]
for name, y in (("definition", right), ("onnxruntime", theirs), ("ReferenceEvaluator", reference)):
    print(f"{name:18}  " + "  ".join(f"{value:<5.3g}" for value in y.ravel()))
same = np.allclose(theirs, right) and np.allclose(reference.ravel()[0], right.ravel()[0])
untouched = np.array_equal(reference.ravel()[1:], x.ravel()[1:])
raise SystemExit(0 if same and untouched else 1)
EOF
