#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# In TVM 0.27 a tensor function cannot call another of its module: the callee is given one argument
# too many, and says so only when it runs.
#
# MakePackedAPI rewrites a call of a GlobalVar to tvm_call_cpacked and appends a null resource handle,
# which the C symbol no longer takes. The lowering that follows counts it as an argument, so that
# a function of two tensors is called with three. The module builds; the call raises TypeError.
# tvm_call_cpacked written by hand, by the function's name and without the handle, works.
#
# Versions: apache-tvm 0.27.0.post1, numpy 2.4.6, Python 3.11, x86-64.
# Output seen:
#   by GlobalVar  TypeError: Expected 2 arguments when calling:
#   by name       [2. 4. 6. 8.]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install apache-tvm==0.27.0.post1 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import tvm
from tvm import tirx


def buffer(name):
    return tirx.decl_buffer((4,), "float32", name=name)


def tensor(memory):
    extents = tirx.tvm_stack_make_shape(tirx.IntImm("int64", 4))
    zero = tirx.const(0, "int32")
    kind = tirx.const(0, "float32")
    return tirx.tvm_stack_make_array(memory.data, extents, zero, 1, kind, zero)


a, b = buffer("a"), buffer("b")
index = tirx.Var("i", "int32")
body = tirx.BufferStore(b, tirx.BufferLoad(a, [index]) * tirx.const(2.0, "float32"), [index])
loop = tirx.For(index, tirx.const(0, "int32"), tirx.const(4, "int32"), tirx.ForKind(0), body)
double = tirx.PrimFunc([a, b], loop).with_attr({"global_symbol": "double"})


def called(make):
    x, y = buffer("x"), buffer("y")
    callee = tvm.ir.GlobalVar("double")
    calling = tirx.Evaluate(make(callee, [tensor(x), tensor(y)]))
    main = tirx.PrimFunc([x, y], calling).with_attr({"global_symbol": "main"})
    module = tvm.IRModule({callee: double, tvm.ir.GlobalVar("main"): main})
    library = tvm.tirx.build(module, target=tvm.target.Target("llvm"))
    y = tvm.runtime.tensor(np.zeros(4, np.float32))
    try:
        library["main"](tvm.runtime.tensor(np.arange(1, 5, dtype=np.float32)), y)
    except TypeError as error:
        return f"TypeError: {error}".splitlines()[0]
    return str(y.numpy())


def by_name(callee, tensors):
    operator = tvm.ir.Op.get("tirx.tvm_call_cpacked")
    return tvm.ir.Call(operator, [tvm.ir.StringImm(callee.name_hint), *tensors], ret_ty="int32")


found = [called(lambda callee, tensors: tvm.ir.Call(callee, tensors, ret_ty="int32")), called(by_name)]
for name, value in zip(("by GlobalVar", "by name"), found):
    print(f"{name:12}  {value}")
right = found[0].startswith("TypeError: Expected 2 arguments") and found[1] == "[2. 4. 6. 8.]"
raise SystemExit(0 if right else 1)
EOF
