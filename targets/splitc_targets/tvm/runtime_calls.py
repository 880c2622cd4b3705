# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""What compiled code calls by name: nothing that is not in it.

TVM's legalisation emits calls of functions that are in its compiler's process: sorting is in a
library of its own, the places that are not zero come from a function in Python. Such code
compiles and dies at the call.
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi

from splitc_targets.loops.tir_pipeline import WRITTEN

_PACKED = ("tirx.tvm_call_packed", "tirx.tvm_call_cpacked", "tirx.tvm_call_packed_lowered")


def missing(module: Any) -> dict[str, None]:
    """Functions that a module calls and does not have, in the order they are met.

    Args:
        module: Of tensor functions. Those that rules wrote are passed over: they call nothing
            but each other.
    """
    own = {variable.name_hint for variable in module.functions}
    found: dict[str, None] = {}

    def packed(call: Any) -> None:
        if isinstance(call.op, tvm.ir.Op) and call.op.name in _PACKED:
            found[_plain(call.args[0])] = None

    for function in module.functions.values():
        if WRITTEN not in function.attrs:
            tvm_ffi.structural_walk(function.body, (tvm.ir.Call, packed), order="post")
    return {name: None for name in found if name not in own}


def _plain(name: Any) -> str:
    return str(getattr(name, "value", name))
