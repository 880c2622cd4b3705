#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# TVM's legalisation of batch_norm on float16 changes what the function gives: a Relax function
# that is declared to give float16 gives float32 once it is legalised, without a word.
#
# relax.nn.batch_norm of float16 tensors is of type float16. LegalizeOps replaces it by TOPI's
# loops, whose epsilon is a float32 constant, so that they compute float32 from there on, and takes
# the type of what was written for the function's: whoever reads the result as declared reads
# other numbers. DecomposeOpsForInference first, which writes the norm out, keeps float16.
#
# Versions: apache-tvm 0.27.0.post1, numpy 2.4.6, Python 3.11, x86-64.
# Output seen:
#   declared    float16
#   legalised   float32
#   run         float32
#   decomposed  float16
#
# Consequence: compare the types of a module's results before and after lowering.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install apache-tvm==0.27.0.post1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import tvm
from tvm import relax

builder = relax.BlockBuilder()
x = relax.Var("x", relax.TensorType((1, 2, 3, 3), "float16"))
sides = [relax.const(np.full(2, value, np.float16)) for value in (1.5, 0.25, 0.5, 2.0)]
with builder.function("main", [x]):
    with builder.dataflow():
        norm = builder.emit(relax.op.nn.batch_norm(x, *sides, axis=1, training=False))
        y = builder.emit_output(norm[0])
    builder.emit_func_output(y)
module = builder.get()


def given(lowered):
    return str(lowered["main"].ret_ty.dtype)


legalised = relax.transform.LegalizeOps()(module)
decomposed = relax.transform.LegalizeOps()(relax.transform.DecomposeOpsForInference()(module))
machine = relax.VirtualMachine(relax.build(module, tvm.target.Target("llvm")), tvm.cpu())
ran = machine["main"](tvm.runtime.tensor(np.ones((1, 2, 3, 3), np.float16))).numpy()
found = [given(module), given(legalised), str(ran.dtype), given(decomposed)]
for name, dtype in zip(("declared", "legalised", "run", "decomposed"), found):
    print(f"{name:10}  {dtype}")
raise SystemExit(0 if found == ["float16", "float32", "float32", "float16"] else 1)
EOF
