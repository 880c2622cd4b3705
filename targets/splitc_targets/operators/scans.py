# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""ONNX operators that Relax or tensor expressions say, and TVM's front end does not convert."""

from __future__ import annotations

from typing import Any

from onnx import helper
from tvm import relax, te, tirx


def cum_prod(builder: Any, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """CumProd from the start of a stored axis."""
    axis = int(inputs[1].value.numpy().ravel()[0])
    made = relax.op.cumprod(inputs[0], axis, exclusive=bool(attrs.get("exclusive", 0)))
    return builder.normalize(made)


def bit_cast(builder: Any, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """BitCast: the same bits as another type of the same width."""
    dtype = helper.tensor_dtype_to_np_dtype(attrs["to"]).name

    def same_bits(x: Any) -> Any:
        return te.compute(x.shape, lambda *at: tirx.reinterpret(dtype, x(*at)), name="bit_cast")

    return builder.emit_te(same_bits, inputs[0], primfunc_name_hint="bit_cast")
