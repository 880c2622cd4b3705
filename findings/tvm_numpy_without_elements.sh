#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A function that TVM compiled refuses a numpy array without elements, though numpy calls the array
# C-contiguous and one with elements is taken as it is.
#
# numpy lets the strides of an array without elements be anything, and makes them 0. TVM's checks
# compare strides with products of the extents behind (1 for the last axis, then 10, 0 for a shape
# of 5, 0, 10) and skip that only where no strides are given at all. So arrays that numpy made
# itself fail with "Mismatched a.strides"; copied into a tensor of TVM, whose strides are TVM's
# own, they pass.
#
# Versions: apache-tvm 0.27.0.post1, numpy 2.4.6, Python 3.11, x86-64.
# Output seen:
#   elements  C-contiguous  numpy's array  TVM's tensor
#   100       True          taken          taken
#   0         True          ValueError     taken
#
# Consequence: give arrays without elements the strides of their extents, or none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install apache-tvm==0.27.0.post1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import tvm
from tvm import te


def outcome(function, *arrays):
    try:
        function(*arrays)
    except ValueError:
        return "ValueError"
    return "taken"


found = []
print("elements  C-contiguous  numpy's array  TVM's tensor")
for shape in ((5, 2, 10), (5, 0, 10)):
    a = te.placeholder(shape, name="a")
    b = te.compute(shape, lambda i, j, k: a[i, j, k] + 1.0, name="b")
    module = tvm.IRModule({"main": te.create_prim_func([a, b])})
    main = tvm.compile(module, target="llvm")["main"]
    arrays = [np.zeros(shape, np.float32), np.zeros(shape, np.float32)]
    plain = outcome(main, *arrays)
    copied = outcome(main, *map(tvm.runtime.tensor, arrays))
    row = arrays[0].size, arrays[0].flags["C_CONTIGUOUS"], plain, copied
    print("{:<9} {!s:<13} {:<14} {}".format(*row))
    found.append(row)
wanted = [(100, True, "taken", "taken"), (0, True, "ValueError", "taken")]
raise SystemExit(0 if found == wanted else 1)
EOF
