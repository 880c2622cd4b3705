#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A kernel in TVM's tensor IR that tells not-a-number by x != x never finds one.
#
# By IEEE 754 not-a-number is the one value that differs from itself, and kernels test for it so.
# TVM decides comparisons as those of real numbers, for floats too: x != x is false and x == x is
# true before any code is made. tirx.isnan is kept. No other comparison of x with itself is needed
# for it to show: a bound that is written as `a if b < a or a != a else b` loses its second half.
#
# Versions: apache-tvm 0.27.0.post1, numpy 2.4.6, Python 3.11, x86-64.
# Output seen, for not-a-number and 1:
#   x != x     0.0 0.0, numpy 1.0 0.0
#   x == x     1.0 1.0, numpy 0.0 1.0
#   isnan      1.0 0.0, numpy 1.0 0.0
#
# Consequence: not-a-number does not pass through a maximum that was written to let it. Ask isnan,
# or look at the bits, which the simplifier leaves alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install apache-tvm==0.27.0.post1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import tvm
from tvm import te, tirx

x = te.placeholder((2,), "float32", name="x")
values = np.array([np.nan, 1], np.float32)
kinds = {
    "x != x": (lambda v: tirx.NE(v, v), values != values),
    "x == x": (lambda v: tirx.EQ(v, v), values == values),
    "isnan": (tirx.isnan, np.isnan(values)),
}
found = {}
for name, (test, right) in kinds.items():
    yes, no = (tirx.const(value, "float32") for value in (1.0, 0.0))
    y = te.compute((2,), lambda i: tirx.Select(test(x[i]), yes, no), name="y")
    module = tvm.compile(te.create_prim_func([x, y]), target="llvm")
    tensors = [tvm.runtime.tensor(array) for array in (values, np.zeros(2, np.float32))]
    module(*tensors)
    found[name] = tensors[1].numpy().tolist()
    wanted = right.astype(np.float32).tolist()
    print(f"{name:10} {found[name][0]} {found[name][1]}, numpy {wanted[0]} {wanted[1]}")
seen = {"x != x": [0.0, 0.0], "x == x": [1.0, 1.0], "isnan": [1.0, 0.0]}
raise SystemExit(0 if found == seen else 1)
EOF
