#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# onnx infers twice as many bins for STFT as it computes, where `onesided` is left out.
#
# The operator's default is onesided=1: floor(frame / 2) + 1 bins. The default is not read by the
# shape inference, which takes 0; its own reference and onnxruntime compute what the operator
# says. With onesided=1 written out all three agree. Strict inference then refuses a valid model
# whose result declares its right shape.
#
# Versions: onnx 1.23.2, onnxruntime 1.31.1, numpy 2.4.6, Python 3.11, x86-64.
# Output seen:
#   left out     inferred [1, 15, 16, 2], reference [1, 15, 9, 2], onnxruntime [1, 15, 9, 2]
#   written out  inferred [1, 15, 9, 2], reference [1, 15, 9, 2], onnxruntime [1, 15, 9, 2]
#   strict       refused
#
# Consequence: the default of an attribute is written out, or the shape inferred otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

signal = np.random.default_rng(0).standard_normal((1, 128, 1)).astype(np.float32)


def model(shape=None, **given):
    node = helper.make_node("STFT", ["signal", "step", "", "frame"], ["y"], **given)
    stored = [
        onnx.numpy_helper.from_array(np.array(value, np.int64), name)
        for name, value in (("step", 8), ("frame", 16))
    ]
    entry = helper.make_tensor_value_info("signal", TensorProto.FLOAT, signal.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph([node], "g", [entry], [result], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def shapes(**given):
    made = model(**given)
    found = onnx.shape_inference.infer_shapes(made).graph.output[0].type.tensor_type.shape.dim
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (right,) = ReferenceEvaluator(made).run(None, {"signal": signal})
    (run,) = session.run(None, {"signal": signal})
    return [d.dim_value for d in found], list(right.shape), list(run.shape)


left, written = shapes(), shapes(onesided=1)
print("left out     inferred {}, reference {}, onnxruntime {}".format(*left))
print("written out  inferred {}, reference {}, onnxruntime {}".format(*written))
try:
    onnx.shape_inference.infer_shapes(model(left[2]), strict_mode=True)
    strict = "taken"
except onnx.shape_inference.InferenceError:
    strict = "refused"
print(f"strict       {strict}")
same = left == ([1, 15, 16, 2], [1, 15, 9, 2], [1, 15, 9, 2]) and len({*map(str, written)}) == 1
raise SystemExit(0 if same and strict == "refused" else 1)
EOF
