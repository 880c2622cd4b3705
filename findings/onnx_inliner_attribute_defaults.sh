#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# onnx's inliner writes an invalid model for an operator whose attribute is left to its default.
#
# LeakyRelu, Elu, Selu, Swish and others are defined as functions. An attribute of the operator is
# read in the body by reference: Constant(value_float = @alpha). A node may leave the attribute out,
# as the operator has a default; the checker takes the model, and onnxruntime runs those it has.
# onnx.inliner.inline_selected_functions(..., inline_schema_functions=True) puts the body in without
# an error, but does not put the default in: a Constant is left that has no value. With the default
# written in the node, the same call makes a valid model. Celu, whose body is made for each node,
# is right in both forms.
#
# Versions: onnx 1.23.2, onnxruntime 1.31.0, numpy 2.4.6, Python 3.11, x86-64.
# Output seen:
#   LeakyRelu left: invalid, written: valid
#   Elu       left: invalid, written: valid
#   Swish     left: invalid, written: valid
#   Celu      left: valid, written: valid
#
# Consequence: who takes models apart by it has to write the defaults into the nodes before.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install onnx==1.23.2 onnxruntime==1.31.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import onnx
import onnx.inliner
import onnxruntime
from onnx import TensorProto, helper

OPERATORS = {"LeakyRelu": (16, 0.01), "Elu": (18, 1.0), "Swish": (24, 1.0), "Celu": (12, 1.0)}


def model_of(op, opset, attributes):
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in "xy"]
    node = helper.make_node(op, ["x"], ["y"], **attributes)
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def inlined(model, op):
    flat = onnx.inliner.inline_selected_functions(model, [("", op)], inline_schema_functions=True)
    assert all(node.op_type != op for node in flat.graph.node)
    try:
        onnx.checker.check_model(flat, full_check=True)
    except onnx.shape_inference.InferenceError as error:
        assert "Constant" in str(error)
        return "invalid"
    return "valid"


seen = {}
for op, (opset, default) in OPERATORS.items():
    left, written = (model_of(op, opset, given) for given in ({}, {"alpha": default}))
    for model in (left, written):
        onnx.checker.check_model(model, full_check=True)
    if op != "Swish":
        session = onnxruntime.InferenceSession(left.SerializeToString(), providers=["CPUExecutionProvider"])
        session.run(None, {"x": np.array([-1, 0, 1], np.float32)})
    seen[op] = (inlined(left, op), inlined(written, op))
    print(f"{op:9} left: {seen[op][0]}, written: {seen[op][1]}")
wanted = {op: ("valid" if op == "Celu" else "invalid", "valid") for op in OPERATORS}
raise SystemExit(0 if seen == wanted else 1)
EOF
