# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""Elements of fewer than 8 bits and floats of 8: read where they are stored, refused elsewhere.

No kernel computes on them, and TVM's front end takes a float8 for an integer. Stored weights of
such types become floats when the model is read: DequantizeLinear and Cast give them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from splitc.build.backend import Unsupported
from splitc.frontend.onnx.model import OnnxModel
from splitc.frontend.onnx.read import dtype_name

Array = np.ndarray[Any, Any]

_USUAL = frozenset({
    "float16", "bfloat16", "float32", "float64", "bool", "string", "int8", "uint8", "int16",
    "uint16", "int32", "uint32", "int64", "uint64", "sequence", "optional", "complex64",
    "complex128", "unknown",
})  # fmt: skip


def is_small(kind: str) -> bool:
    """Whether an element type is one of those that are read where they are stored only."""
    return kind not in _USUAL


def stored_small(tensor: TensorProto) -> bool:
    """Whether a stored tensor's elements are such."""
    return is_small(dtype_name(tensor.data_type))


def as_floats(tensor: TensorProto) -> Array:
    """A stored tensor's numbers, exactly."""
    return numpy_helper.to_array(tensor).astype(np.float32)


def dequantised(whole: Array, scale: Array, dtype: np.dtype[Any]) -> Array:
    """(x - zero) scale, rounded once, in a type."""
    return (whole.astype(np.float32) * scale.astype(np.float32)).astype(dtype)


def cast(node: NodeProto, tensor: TensorProto) -> TensorProto | None:
    """A stored tensor of such elements in the type that a Cast names; None for such a type."""
    to = helper.get_node_attr_value(node, "to")
    if is_small(dtype_name(to)):
        return None
    value = as_floats(tensor).astype(helper.tensor_dtype_to_np_dtype(to))
    return numpy_helper.from_array(value, node.output[0])


def computed_small(model: OnnxModel) -> list[Unsupported]:
    """Layers that make or read such elements otherwise than from a stored tensor."""
    stored = {t.name: t for t in model.proto.graph.initializer}
    found: list[Unsupported] = []
    for node in model.proto.graph.node:
        makes = [model.tensors[name].dtype for name in node.output if name in model.tensors]
        reads = [name for name in node.input if name in stored and stored_small(stored[name])]
        why = ""
        if any(map(is_small, makes)):
            kind = next(filter(is_small, makes))
            why = f"{kind} is read where it is stored, and cannot be computed"
        elif reads and not _read_stored(node, stored):
            kind = dtype_name(stored[reads[0]].data_type)
            why = f"it reads '{reads[0]}' of {kind}, which only DequantizeLinear and Cast may"
            if node.op_type == "DequantizeLinear":
                why = f"it reads {kind} with a scale that is computed"
        if why:
            found.append(Unsupported(node.name, node.op_type, why))
    return found


def _read_stored(node: NodeProto, stored: dict[str, TensorProto]) -> bool:
    """Whether a layer that reads stored elements of such types gives usual ones of them."""
    if node.op_type == "Cast":
        return True
    known = all(name in stored for name in node.input if name)
    return node.op_type == "DequantizeLinear" and known
