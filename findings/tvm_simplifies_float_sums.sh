#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# TVM simplifies sums of floats as if they were exact, and contracts products with sums.
#
# float32 arithmetic says: (x + y) - y is 0 for x = 1e-8, y = 1, and networks round by it; x - x
# is not a number where x is infinite; x * x - y is 0 where y is x * x, rounded. TVM's simplifier
# takes (x + y) - y for x and x - x for 0, in floats too, and its LLVM back end lets a product and
# a difference become one fused instruction: x * x - y is then the product's rounding error.
#
# Versions: apache-tvm 0.27.0.post1, numpy 2.4.6, Python 3.11, x86-64.
# Output seen:
#   (x + y) - y    1e-08, numpy 0.0
#   x - x          0.0, numpy nan
#   x * x - y      -4.1e-10, numpy 0.0
#
# Consequence: where a network's next step rounds (Ceil, Round, Cast), results are a step off.
# A call of llvm.arithmetic.fence around an operand keeps each operation as it is written.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install apache-tvm==0.27.0.post1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import tvm
from tvm import te

target = tvm.target.Target({"kind": "llvm", "mcpu": "x86-64-v3"})
x, y = (te.placeholder((1,), "float32", name=name) for name in "xy")


def run(compute, x_value, y_value):
    z = te.compute((1,), compute, name="z")
    module = tvm.compile(te.create_prim_func([x, y, z]), target=target)
    given = [np.array([value], np.float32) for value in (x_value, y_value, 0)]
    tensors = [tvm.runtime.tensor(array) for array in given]
    module(*tensors)
    return float(tensors[2].numpy()[0])


with np.errstate(invalid="ignore"):
    inf, tenth = np.float32(np.inf), np.float32(0.1)
    sum_ = run(lambda i: (x[i] + y[i]) - y[i], 1e-8, 1.0)
    print(f"(x + y) - y    {sum_:.1g}, numpy {float(np.float32(1e-8) + np.float32(1) - np.float32(1))}")
    same = run(lambda i: x[i] - x[i], inf, 0)
    print(f"x - x          {same}, numpy {float(inf - inf)}")
    rest = run(lambda i: x[i] * x[i] - y[i], tenth, tenth * tenth)
    print(f"x * x - y      {rest:.2g}, numpy {float(tenth * tenth - tenth * tenth)}")
raise SystemExit(0 if sum_ > 0 and same == 0 and rest != 0 else 1)
EOF
