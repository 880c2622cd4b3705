#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# onnx's version converter turns a PRelu with a slope a channel into one with a slope a column.
#
# Before opset 7 the slopes of PRelu were one for all or one a channel: a vector as long as axis 1.
# From opset 7 on they are broadcast as NumPy does, so the same vector lies along the last axis.
# convert_version leaves the vector as it is: it would have to become [C, 1, 1]. Where the last axis
# has as many elements as there are channels, the converted model passes the checker, runs, and
# computes something else; where it has not, it cannot be run.
#
# Versions: onnx 1.23.2, onnxruntime 1.31.0, numpy 2.4.6, Python 3.11, x86-64.
# Output seen, for -1 everywhere, three channels of 3 x 3, and slopes 0.1, 0.2, 0.3:
#   opset 6 says, first row of each channel:   [-0.1 -0.1 -0.1] [-0.2 -0.2 -0.2] [-0.3 -0.3 -0.3]
#   converted to 13, first row of each channel: [-0.1 -0.2 -0.3] [-0.1 -0.2 -0.3] [-0.1 -0.2 -0.3]
#
# Consequence: give the slopes their axes before converting an old model.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install onnx==1.23.2 onnxruntime==1.31.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

slopes = np.array([0.1, 0.2, 0.3], np.float32)
value = helper.make_tensor_value_info
graph = helper.make_graph(
    [helper.make_node("PRelu", ["x", "slope"], ["y"])], "g",
    [value("x", TensorProto.FLOAT, [1, 3, 3, 3]), value("slope", TensorProto.FLOAT, [3])],
    [value("y", TensorProto.FLOAT, [1, 3, 3, 3])],
    [numpy_helper.from_array(slopes, "slope")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=3)
onnx.checker.check_model(model, full_check=True)
made = onnx.version_converter.convert_version(model, 13)
onnx.checker.check_model(made, full_check=True)
session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
x = -np.ones((1, 3, 3, 3), np.float32)
(got,) = session.run(None, {"x": x})
right = x * slopes[:, None, None]
for name, found in (("opset 6 says, first row of each channel:  ", right),
                    ("converted to 13, first row of each channel:", got)):
    print(name, *found[0, :, 0])
raise SystemExit(0 if np.allclose(got, x * slopes) and not np.allclose(got, right) else 1)
EOF
