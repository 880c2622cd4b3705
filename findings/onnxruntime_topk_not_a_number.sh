#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# One not-a-number in a row, and onnxruntime's TopK misses the largest of the others.
#
# ONNX says: TopK with largest=1 retrieves the k largest elements along an axis. It does not say
# where a not-a-number stands, but any order that places it somewhere (NumPy and PyTorch: above
# every number) leaves the largest number among the first two. onnxruntime compares with `>`
# alone, which is no order once a not-a-number is there: its heap and its sort go astray, and
# how depends on k and on where the not-a-number lies.
#
# Versions: onnxruntime 1.31.1, onnx 1.23.2, numpy 2.4.6, Python 3.11, x86-64.
# Output seen, for [nan, 1, 2, 3, 4, 5]:
#   k=2 [nan, 5.0]
#   k=3 [2.0, 1.0, nan]
#   k=6 [5.0, 4.0, 3.0, nan, 2.0, 1.0]
#   three largest hold 5.0: False
#
# Consequence: where scores may be not-a-number, onnxruntime is no oracle for TopK.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

x = np.array([[np.nan, 1, 2, 3, 4, 5]], np.float32)


def first(k):
    graph = helper.make_graph(
        [helper.make_node("TopK", ["x", "k"], ["values", "places"])], "topk",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, [1, k])],
        [numpy_helper.from_array(np.array([k]), "k")],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0].ravel().tolist()


for k in (2, 3, 6):
    print(f"k={k}", first(k))
missed = 5.0 not in first(3)
print("three largest hold 5.0:", not missed)
sys.exit(0 if missed else 1)
PY
