#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# TVM's ONNX importer takes an input extent of 0 for an extent that is not known.
#
# A graph input of shape [2, 0], as a detector without boxes or a cache without past has it, is a
# fixed shape in ONNX: dim_value is set, and is 0. from_onnx makes a symbolic extent of it, so that
# the Relax function has a dynamic shape, and what needs fixed ones refuses the model or compiles
# for any extent. The same shape given as shape_dict is kept.
#
# Versions: apache-tvm 0.27.0.post1, onnx 1.22.0, numpy 2.4.6, Python 3.11, x86-64.
# Output seen:
#   from the file    fixed: [True, False]
#   from shape_dict  fixed: [True, True]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install apache-tvm==0.27.0.post1 onnx==1.22.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import tvm
from onnx import TensorProto, checker, helper
from tvm.relax.frontend.onnx import from_onnx

x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 0]) for name in "xy")
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "empty", [x], [y])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
checker.check_model(model, full_check=True)
assert [dim.HasField("dim_value") for dim in x.type.tensor_type.shape.dim] == [True, True]


def fixed(**options):
    shape = from_onnx(model, **options)["main"].params[0].ty.shape
    return [isinstance(extent, tvm.tirx.IntImm) for extent in shape.values]


found = [fixed(), fixed(shape_dict={"x": [2, 0]})]
for name, value in zip(("from the file", "from shape_dict"), found):
    print(f"{name:15}  fixed: {value}")
raise SystemExit(0 if found == [[True, False], [True, True]] else 1)
EOF
