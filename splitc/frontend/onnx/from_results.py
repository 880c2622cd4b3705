# SPDX-License-Identifier: Apache-2.0
"""Shapes of operands that only what is made of them tells.

A network may compute how long a Range is, and declare its results all the same. Through operators
that work element by element the result's extents are those of the operands.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence

from onnx import NodeProto, TypeProto, helper

from splitc.frontend.onnx.read import tensor_of

_BY_ELEMENTS = frozenset((
    "Abs", "Add", "And", "Cast", "Ceil", "Cos", "Div", "Equal", "Exp", "Floor", "Greater",
    "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Log", "Max", "Min", "Mod", "Mul", "Neg",
    "Not", "Or", "Pow", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sqrt", "Sub",
    "Tanh", "Where", "Xor",
))  # fmt: skip
Extent = int | str
"""A number, or the name of what is open: everything of one name is equally long."""
Form = tuple[Extent, ...]


def know_operands(nodes: Sequence[NodeProto], known: MutableMapping[str, TypeProto]) -> None:
    """Close open extents, where what is made of them element by element has a known one.

    Args:
        nodes: The nodes of a graph, each behind what it reads.
        known: Types by tensor name; open extents become fixed ones.
    """
    forms: dict[str, Form] = {}
    found: dict[str, int] = {}
    for node in nodes:
        derived = _derived(node, forms, known)
        for name in filter(None, node.output):
            form = _form(name, known)
            if form is None:
                continue
            if derived is not None and len(derived) == len(form):
                pairs = list(zip(form, derived, strict=True))
                found |= {d: f for f, d in pairs if isinstance(f, int) and isinstance(d, str)}
                form = tuple(f if isinstance(f, int) or d is None else d for f, d in pairs)
            forms[name] = form
    for name, form in forms.items():
        if any(extent in found for extent in form):
            kind = known[name].tensor_type.elem_type
            closed = [found.get(e) if isinstance(e, str) else e for e in form]
            known[name] = helper.make_tensor_type_proto(kind, closed)


def _form(name: str, known: MutableMapping[str, TypeProto]) -> Form | None:
    """A tensor's extents, with names of their own for open ones; None where nothing is known."""
    shape = tensor_of(name, known[name]).shape if name in known else None
    if shape is None:
        return None
    return tuple(f"{name}/{k}" if extent is None else extent for k, extent in enumerate(shape))


def _derived(
    node: NodeProto, forms: MutableMapping[str, Form], known: MutableMapping[str, TypeProto]
) -> tuple[Extent | None, ...] | None:
    """The extents that operands give a result; None for one that either of two may give."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in _BY_ELEMENTS:
        return None
    given = [forms.get(name) or _form(name, known) for name in node.input]
    wide = [form for form in given if form is not None]
    if len(wide) < len(given):
        return None
    made: list[Extent | None] = []
    for axis in range(max(map(len, wide), default=0), 0, -1):
        extents = {form[-axis] for form in wide if len(form) >= axis} - {1}
        made.append(1 if not extents else extents.pop() if len(extents) == 1 else None)
    return tuple(made)
