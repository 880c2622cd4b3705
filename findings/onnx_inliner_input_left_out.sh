#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# onnx's inliner cannot put in the body of Attention where an input is left out before another.
#
# Attention is defined as a function whose body is written for the types of its inputs. Its mask is
# optional, and a cache stands behind it: ["Q", "K", "V", "", "past_key", "past_value"], where the
# empty name says that there is no mask. The checker takes the model and onnxruntime runs it.
# onnx.inliner.inline_selected_functions(..., inline_schema_functions=True) asks for the type of
# the input without a name, and fails. OpSchema.get_context_dependent_function gives the same body
# where the type of such an input is an empty TypeProto; as a function that the model brings,
# inline_local_functions puts it in.
#
# Versions: onnx 1.23.2, onnxruntime 1.31.0, numpy 2.4.6, Python 3.11, x86-64.
# Output seen:
#   onnxruntime: (1, 2, 3, 4)
#   inline_selected_functions: Type unknown for
#   the body by get_context_dependent_function: inlined, no Attention left
#
# Consequence: exporters of decoders with a cache and no mask write models that onnx's own tool
# cannot take apart.
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
from onnx import FunctionProto, TensorProto, TypeProto, helper

names = ["Q", "K", "V", "", "past_key", "past_value"]
shapes = {"Q": 3, "K": 3, "V": 3, "past_key": 5, "past_value": 5}
inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2, s, 4]) for n, s in shapes.items()]
results = {"Y": 3, "present_key": 8, "present_value": 8}
outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2, s, 4]) for n, s in results.items()]
node = helper.make_node("Attention", names, list(results))
graph = helper.make_graph([node], "g", inputs, outputs)
opsets = [helper.make_opsetid("", 24)]
model = helper.make_model(graph, opset_imports=opsets, ir_version=11)
onnx.checker.check_model(model, full_check=True)

session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
rng = np.random.default_rng(0)
feed = {n: rng.standard_normal((1, 2, s, 4), np.float32) for n, s in shapes.items()}
print("onnxruntime:", session.run(None, feed)[0].shape)

said = ""
try:
    onnx.inliner.inline_selected_functions(model, [("", "Attention")], inline_schema_functions=True)
except RuntimeError as error:
    said = "Type unknown for" if "Type unknown for" in str(error) else str(error)
print("inline_selected_functions:", said or "inlined")

types = {value.name: value.type for value in inputs}
given = [types.get(n, TypeProto()).SerializeToString() for n in names]
schema = onnx.defs.get_schema("Attention", 24)
body = FunctionProto.FromString(schema.get_context_dependent_function(node.SerializeToString(), given))
body.domain = "local"
model.functions.append(body)
model.graph.node[0].domain = "local"
model.opset_import.append(helper.make_opsetid("local", 1))
flat = onnx.inliner.inline_local_functions(model)
left = [n for n in flat.graph.node if n.op_type == "Attention"]
print("the body by get_context_dependent_function:", "inlined, no Attention left" if not left else "not inlined")
raise SystemExit(0 if said == "Type unknown for" and not left else 1)
EOF
