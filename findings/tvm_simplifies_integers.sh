#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# TVM's simplifier computes on integers of 32 and 64 bits as if they had no ends: 0 - x of unsigned
# numbers is 0 whatever x is, and no number is ever the least of its type.
#
# Both are what its rewriting says of numbers without ends: an unsigned x is at least 0, so 0 - x is
# at most 0, and what is unsigned is not below; an int32 is held to be above -2^31, so that the
# comparison with -2^31 is false. So a negation by way of unsigned numbers gives 0, and a test for
# the one dividend that may not be divided by -1 is left out, without a word: the division then
# ends the process. Comparing bits (x ^ 0x7fffffff == -1) is not seen through.
#
# Versions: apache-tvm 0.27.0.post1, numpy 2.4.6, Python 3.11, x86-64.
# Output seen, of -2^31, -5 and 7:
#   0 - x, as uint32           0 0 0
#   x is the least int32       0 0 0
# Right is 2147483648 5 4294967289, and 1 0 0.
#
# Consequence: hold divisions and shifts of integers against numpy's at the ends of every type.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install apache-tvm==0.27.0.post1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import tvm
from tvm import te, tirx

n = 3
x = te.placeholder((n,), "int32", name="x")


def bits(value):
    return tirx.Cast("uint32", value)


def run(what, compute):
    y = te.compute((n,), compute)
    function = te.create_prim_func([x, y]).with_attr("global_symbol", "main")
    code = tvm.compile(tvm.IRModule({"main": function}), target="llvm")
    given = np.array([-(2**31), -5, 7], np.int32)
    made = tvm.runtime.empty((n,), str(y.dtype))
    code["main"](tvm.runtime.tensor(given), made)
    print(f"{what:26}", *made.numpy())


run("0 - x, as uint32", lambda i: tirx.const(0, "uint32") - bits(x[i]))
run("x is the least int32", lambda i: tirx.Cast("int32", tirx.EQ(x[i], tirx.min_value("int32"))))
EOF
