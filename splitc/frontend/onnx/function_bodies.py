# SPDX-License-Identifier: Apache-2.0
"""Types of what control flow gives: If, Loop and Scan, by following their bodies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx
from onnx import GraphProto, NodeProto, TensorProto, TypeProto

Types = Sequence[TypeProto | None]
Inside = Callable[[GraphProto, Types], list[TypeProto]]
"""Follows a body: the types of its results, given those of its inputs; None as declared."""

_scalar = onnx.helper.make_tensor_type_proto


def _if(node: NodeProto, entries: Types, inside: Inside) -> list[TypeProto | None]:
    """What both branches give."""
    given = _attributes(node)
    then, other = (inside(given[name], ()) for name in ("then_branch", "else_branch"))
    return [_common(a, b) for a, b in zip(then, other, strict=False)]


def _loop(node: NodeProto, entries: Types, inside: Inside) -> list[TypeProto | None]:
    """Inputs (trips, condition, carried…); results (carried…, stacked…)."""
    count = TensorProto.INT64
    first = [_scalar(count, []), _scalar(TensorProto.BOOL, [])]
    carried, made = _settled(
        entries[2:], lambda types: inside(_attributes(node)["body"], [*first, *types])[1:]
    )
    return [*carried, *(_with_axis(one, 0, None) for one in made[len(carried) :])]


def _scan(node: NodeProto, entries: Types, inside: Inside) -> list[TypeProto | None]:
    """Inputs (states…, scanned…); results (states…, stacked…). Opset 8 has a batch besides."""
    given = _attributes(node)
    if "directions" in given:
        return []
    scanned = given["num_scan_inputs"]
    if not 0 < scanned <= len(entries):
        return []
    states = len(entries) - scanned
    axes = given.get("scan_input_axes", [0] * scanned)
    pieces = [_without_axis(e, a) for e, a in zip(entries[states:], axes, strict=False)]
    lengths = [_extent(e, a) for e, a in zip(entries[states:], axes, strict=False)]
    length = next((n for n in lengths if n is not None), None)
    carried, made = _settled(
        entries[:states], lambda types: inside(given["body"], [*types, *pieces])
    )
    rest = made[len(carried) :]
    axes = given.get("scan_output_axes", [0] * len(rest))
    stacked = [_with_axis(one, axis, length) for one, axis in zip(rest, axes, strict=False)]
    return [*carried, *stacked]


BODIES: dict[str, Callable[[NodeProto, Types, Inside], list[TypeProto | None]]] = {
    "If": _if,
    "Loop": _loop,
    "Scan": _scan,
}


def _settled(
    carried: Types, step: Callable[[Types], list[TypeProto]]
) -> tuple[list[TypeProto | None], list[TypeProto]]:
    """What a body carries from one turn to the next, and what it makes of that.

    Extents that a turn changes are open; then nothing else can change but the rank.
    """
    types = list(carried)
    made = step(types)
    for _ in range(3):
        merged = [_common(a, b) for a, b in zip(types, made, strict=False)]
        if merged == types:
            break
        types = merged
        made = step(types)
    return types, made


def _common(one: TypeProto | None, other: TypeProto | None) -> TypeProto | None:
    """What is true of both."""
    if one is None or other is None or one == other:
        return one if one == other else None
    if not (one.HasField("tensor_type") and other.HasField("tensor_type")):
        return None
    elem_type = one.tensor_type.elem_type
    if elem_type != other.tensor_type.elem_type:
        return None
    dims, others = _dims(one), _dims(other)
    if dims is None or others is None or len(dims) != len(others):
        return _scalar(elem_type, None)
    return _scalar(elem_type, [a if a == b else None for a, b in zip(dims, others, strict=True)])


def _dims(one: TypeProto | None) -> list[int | None] | None:
    if one is None or not one.tensor_type.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") else None for d in one.tensor_type.shape.dim]


def _with_axis(one: TypeProto, axis: int, extent: int | None) -> TypeProto | None:
    dims = _dims(one)
    if dims is None:
        return _scalar(one.tensor_type.elem_type, None) if one.HasField("tensor_type") else None
    dims.insert(axis % (len(dims) + 1), extent)
    return _scalar(one.tensor_type.elem_type, dims)


def _without_axis(one: TypeProto | None, axis: int) -> TypeProto | None:
    dims = _dims(one)
    if one is None or dims is None or not -len(dims) <= axis < len(dims):
        return None
    del dims[axis]
    return _scalar(one.tensor_type.elem_type, dims)


def _extent(one: TypeProto | None, axis: int) -> int | None:
    dims = _dims(one)
    return dims[axis] if dims is not None and -len(dims) <= axis < len(dims) else None


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
