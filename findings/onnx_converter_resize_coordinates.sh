#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# onnx's version converter brings Upsample of opset 9 and Resize of opset 10 to later opsets without
# saying which places their results are at: the converted model is valid and gives other values.
#
# Those opsets have no coordinate_transformation_mode: place i of the result is at i / scale of the
# input ("asymmetric" in later words). From opset 11 on the attribute is there, and what stands
# where it is left out is "half_pixel", (i + 0.5) / scale - 0.5. The converter adds the new empty
# input and not the attribute. So a linear enlargement by 2 moves by a quarter of a pixel, and a
# nearest one may take another pixel.
#
# Versions: onnx 1.23.2, onnxruntime 1.31.1, numpy 2.4.6, Python 3.11, x86-64.
# Output seen:
#   Resize-10 linear [0.0, 0.5, 1.0, 1.5, 2.0, 2.0] [0.0, 0.25, 0.75, 1.25, 1.75, 2.0]
#   Resize-10 nearest [0.0, 2.0, 3.0, 5.0, 6.0] [0.0, 2.0, 3.0, 4.0, 6.0]
#   Upsample-9 linear [0.0, 0.5, 1.0, 1.5, 2.0, 2.0] [0.0, 0.25, 0.75, 1.25, 1.75, 2.0]
#
# (before, and after conversion to opset 13)
#
# Consequence: set coordinate_transformation_mode="asymmetric", and nearest_mode, by hand in what the
# converter makes of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter
from onnxruntime import InferenceSession


def values(model, x):
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [round(float(v), 3) for v in session.run(None, {"x": x})[0].ravel()]


found = []
for op, opset, mode, size, scale in (
    ("Resize", 10, "linear", 3, 2.0), ("Resize", 10, "nearest", 8, 0.7),
    ("Upsample", 9, "linear", 3, 2.0),
):  # fmt: skip
    x = np.arange(size, dtype=np.float32).reshape(1, 1, 1, size)
    scales = numpy_helper.from_array(np.array([1, 1, 1, scale], np.float32), "scales")
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "scales"], ["y"], mode=mode)], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, int(size * scale)])],
        [scales],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    later = version_converter.convert_version(model, 13)
    onnx.checker.check_model(later)
    row = (f"{op}-{opset}", mode, values(model, x), values(later, x))
    print(*row)
    found.append(row)
linear = [0.0, 0.5, 1.0, 1.5, 2.0, 2.0], [0.0, 0.25, 0.75, 1.25, 1.75, 2.0]
wanted = [
    ("Resize-10", "linear", *linear),
    ("Resize-10", "nearest", [0.0, 2.0, 3.0, 5.0, 6.0], [0.0, 2.0, 3.0, 4.0, 6.0]),
    ("Upsample-9", "linear", *linear),
]
raise SystemExit(0 if found == wanted else 1)
EOF
