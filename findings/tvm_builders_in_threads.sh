#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Two threads that read ONNX models with TVM at the same time stop each other.
#
# relax.BlockBuilder keeps the functions under way in one list of the class, not of the thread, and
# asserts that the one it leaves is the last. The ONNX and torch front ends build with it, so
# calls of from_onnx that overlap end in an AssertionError, or in an error about a builder that is
# not the current one, though the models are right and share nothing. Read one after the other,
# the same models are fine. Compiling (tvm.compile) has no such list.
#
# Versions: apache-tvm 0.27.0.post1, onnx 1.22.0, Python 3.11, x86-64.
# Output seen (which of the two errors comes, and how often, differs by run):
#   one after the other: 16 read, 0 failed
#   four at a time: some failed, with AssertionError or RuntimeError
#
# Consequence: a program that compiles parts in threads holds a lock while a front end runs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install apache-tvm==0.27.0.post1 onnx==1.22.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import onnx
from onnx import TensorProto, helper
from tvm.relax.frontend.onnx import from_onnx

names = [f"t{i}" for i in range(21)]
nodes = [helper.make_node("Exp", [a], [b]) for a, b in zip(names, names[1:])]
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in (names[0], names[-1])]
model = helper.make_model(
    helper.make_graph(nodes, "g", ends[:1], ends[1:]),
    opset_imports=[helper.make_opsetid("", 17)], ir_version=10,
)
onnx.checker.check_model(model)


def read(_):
    try:
        from_onnx(model)
    except (AssertionError, RuntimeError) as error:
        return type(error).__name__
    return "read"


sys.setswitchinterval(1e-5)
alone = Counter(map(read, range(16)))
with ThreadPoolExecutor(4) as threads:
    beside = Counter(threads.map(read, range(16)))
print("one after the other:", dict(alone))
print("four at a time:", dict(beside))
raise SystemExit(0 if alone == {"read": 16} and beside["read"] < 16 else 1)
EOF
