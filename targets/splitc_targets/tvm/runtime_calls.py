# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""What compiled code calls by name, held against what the runtime that ships with it has.

TVM's front ends and legalisation emit calls of functions that are in its compiler's process and
not in `libtvm_runtime.so`: sorting is in another library, the places that are not zero come
from a function in Python. Such code compiles and dies at the call.
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import relax

from splitc_targets.loops.tir_pipeline import WRITTEN

REGISTERED = frozenset(
    f"vm.builtin.{name}"
    for name in (
        "alloc_shape_heap", "alloc_storage", "alloc_tensor", "call_tir_dyn", "check_func_info",
        "check_prim_value_info", "check_shape_info", "check_tensor_info", "check_tuple_info",
        "copy", "ensure_zero_offset", "invoke_closure", "make_closure", "make_prim_value",
        "make_shape", "make_tuple", "match_prim_value", "match_shape", "null_value",
        "read_if_cond", "reshape", "shape_of", "tensor_to_shape", "to_device", "tuple_getitem",
        "tuple_reset_item",
    )
)  # fmt: skip
"""Functions of the shipped libraries that code of the virtual machine may call."""

_PACKED = ("tirx.tvm_call_packed", "tirx.tvm_call_cpacked", "tirx.tvm_call_packed_lowered")


def missing(module: Any) -> dict[str, None]:
    """Functions that a module calls and the runtime does not have, in the order they are met.

    Args:
        module: Before its virtual machine's code is written. Loops that rules wrote are passed
            over: they call nothing.
    """
    own = {variable.name_hint for variable in module.functions}
    found: dict[str, None] = {}

    def extern(expr: Any) -> None:
        found[str(expr.global_symbol)] = None

    def packed(call: Any) -> None:
        if isinstance(call.op, tvm.ir.Op) and call.op.name in _PACKED:
            found[_plain(call.args[0])] = None

    for function in module.functions.values():
        if isinstance(function, relax.Function):
            tvm_ffi.structural_walk(function.body, (relax.ExternFunc, extern), order="post")
        elif WRITTEN not in function.attrs:
            tvm_ffi.structural_walk(function.body, (tvm.ir.Call, packed), order="post")
    return {name: None for name in found if name not in REGISTERED and name not in own}


def _plain(name: Any) -> str:
    return str(getattr(name, "value", name))
