# SPDX-License-Identifier: Apache-2.0
"""Values of small tensors that exporters compute shapes with.

onnx follows values through recent operators only: a Reshape by Concat(Gather(Shape(x)), -1)
of opset 9 stays unknown, and all that comes after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import NodeProto, OperatorSetIdProto, TensorProto, TypeProto, numpy_helper

from splitc.arrays import Array
from splitc.errors import BadModelError
from splitc.frontend.onnx.form import OLDEST_OPSET
from splitc.frontend.onnx.read import tensor_of

INLINE_BYTES = 1024
"""A tensor of more is no shape."""

_SHAPE_OPS = frozenset((
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "ConstantOfShape", "CumSum", "Div",
    "Equal", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater",
    "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not",
    "Or", "Pad", "Pow", "Range", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape",
    "Round", "ScatterElements", "ScatterND", "Sign", "Slice", "Split", "Sqrt", "Squeeze", "Sub",
    "Sum", "Tile", "Transpose", "Unsqueeze", "Where", "Xor",
))  # fmt: skip
"""What exporters compute shapes with."""


def values_of(
    node: NodeProto,
    known: Mapping[str, TypeProto],
    values: Mapping[str, TensorProto],
    opsets: Sequence[OperatorSetIdProto],
) -> dict[str, TensorProto]:
    """The values of a node's outputs where they are small and computed from small ones.

    Args:
        node: The node.
        known: Types of its inputs and outputs by tensor name, as far as they are known.
        values: Tensors whose values are known.
        opsets: What the model imports.
    """
    if node.domain not in ("", "ai.onnx"):
        return {}
    if node.op_type in ("Shape", "Size"):
        return _measured(node, known)
    names = [name for name in node.output if name]
    made = [tensor_of(name, known[name]) for name in names if name in known]
    if (
        node.op_type not in _SHAPE_OPS
        or len(made) != len(names)
        or any(name not in values for name in node.input if name)
        or any(t.nbytes is None or t.nbytes > INLINE_BYTES for t in made)
    ):
        return {}
    quick = _QUICK.get(node.op_type)
    if quick is not None:
        entries = [numpy_helper.to_array(values[name]) for name in node.input if name]
        result = quick(node, entries)
        if result is not None:
            return {names[0]: numpy_helper.from_array(np.asarray(result), names[0])}
    return _computed(node, names, values, opsets)


def _measured(node: NodeProto, known: Mapping[str, TypeProto]) -> dict[str, TensorProto]:
    name = node.input[0]
    entry = tensor_of(name, known[name]) if name in known else None
    if entry is None or entry.elements is None:
        return {}
    value = measured(node, entry.static_shape)
    return {node.output[0]: numpy_helper.from_array(value, node.output[0])}


def measured(node: NodeProto, shape: tuple[int, ...]) -> Array:
    """What Shape or Size gives of a tensor of that shape, int64."""
    if node.op_type == "Size":
        return np.array(math.prod(shape), np.int64)
    bounds = {a.name: a.i for a in node.attribute}
    return np.array(shape[bounds.get("start", 0) : bounds.get("end")], np.int64)


def _computed(
    node: NodeProto,
    names: Sequence[str],
    values: Mapping[str, TensorProto],
    opsets: Sequence[OperatorSetIdProto],
) -> dict[str, TensorProto]:
    """What onnxruntime makes of a node; nothing where it cannot."""
    from splitc.runtime.ort import Session

    stored = [values[name] for name in dict.fromkeys(node.input) if name]
    declared = [onnx.ValueInfoProto(name=name) for name in names]
    graph = onnx.helper.make_graph([node], "values", [], declared, stored)
    # The oldest opset with the same definition: onnx knows newer ones than onnxruntime.
    version = next(o.version for o in opsets if o.domain in ("", "ai.onnx"))
    since = onnx.defs.get_schema(node.op_type, version).since_version
    opset = onnx.helper.make_opsetid("", max(since, OLDEST_OPSET))
    single = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    try:
        results = Session(single.SerializeToString()).run(names, {})
    except BadModelError:
        return {}
    return {
        name: numpy_helper.from_array(result, name)
        for name, result in zip(names, results, strict=True)
    }


def _gather(node: NodeProto, entries: Sequence[Array]) -> Array | None:
    source, places = entries
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    if axis >= source.ndim or np.any(places >= source.shape[axis]) or np.any(places < 0):
        return None
    return np.take(source, places, axis)


def _concat(node: NodeProto, entries: Sequence[Array]) -> Array | None:
    flat = all(entry.ndim == 1 and entry.dtype == entries[0].dtype for entry in entries)
    return np.concatenate(entries) if flat else None


def _flat(node: NodeProto, entries: Sequence[Array]) -> Array | None:
    """Unsqueeze of a scalar, Squeeze of a vector of one element; the others are rare."""
    if entries[0].size != 1:
        return None
    if node.op_type == "Unsqueeze" and entries[0].ndim == 0:
        return entries[0].reshape(1)
    return entries[0].reshape(()) if node.op_type == "Squeeze" and entries[0].ndim == 1 else None


def _integers(function: Callable[[Array, Array], Array]) -> _Quick:
    def quick(node: NodeProto, entries: Sequence[Array]) -> Array | None:
        same = len(entries) == 2 and entries[0].dtype == entries[1].dtype == np.int64
        return function(*entries) if same else None

    return quick


_Quick = Callable[[NodeProto, Sequence[Array]], Array | None]
_QUICK: dict[str, _Quick] = {
    "Gather": _gather,
    "Concat": _concat,
    "Unsqueeze": _flat,
    "Squeeze": _flat,
    "Add": _integers(np.add),
    "Sub": _integers(np.subtract),
    "Mul": _integers(np.multiply),
}
"""The commonest, without a session of onnxruntime's each; None leaves it to onnxruntime."""
