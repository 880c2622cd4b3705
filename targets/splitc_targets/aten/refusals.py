# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""What of a program is not converted, known before anything is lowered."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx

from splitc_targets.aten.arguments import RANDOM, WHY, readings
from splitc_targets.aten.constants import constant

_KINDS = frozenset(
    (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8,
     torch.int8, torch.int16, torch.int32, torch.int64)
)  # fmt: skip


def operator_of(node: fx.Node) -> str:
    """The operator that a node calls, as `name.overload`."""
    return str(getattr(node.target, "__name__", node.target))


def refusal(node: fx.Node) -> str:
    """Why a node of a program that was taken apart is not converted; empty where it is."""
    if node.op == "placeholder":
        return _kind(node.meta.get("val"))
    if node.op != "call_function" or node.target in (operator.getitem, constant):
        return ""
    name = operator_of(node)
    reading = readings().get(name)
    if reading is None or reading.by == "rewrite":
        target: Any = node.target
        if torch.Tag.nondeterministic_seeded in getattr(target, "tags", ()):
            return RANDOM
        return WHY.get(name, "there is no conversion of it")
    if any(_is_empty(each.meta.get("val")) for each in node.all_input_nodes):
        return "it reads a tensor without elements"
    for argument, value in bound(node).items():
        if argument in reading.only and not _is(value, reading.only[argument]):
            return WHY.get(name) or f"{argument}={value} is not converted"
    for user in node.users:
        computed = reading.results is None or user.target is not operator.getitem
        if not computed and int(str(user.args[1])) >= (reading.results or 0):
            return WHY.get(name, f"its result {user.args[1]} is not computed")
    made = node.meta.get("val")
    return _kind(made[: reading.results] if isinstance(made, tuple) else made)


def bound(node: fx.Node) -> dict[str, Any]:
    """A node's arguments by the names of its operator's schema, with the defaults."""
    target: Any = node.target
    found: dict[str, Any] = {}
    for place, argument in enumerate(target._schema.arguments):
        if place < len(node.args) and not argument.kwarg_only:
            found[argument.name] = node.args[place]
        elif argument.name in node.kwargs:
            found[argument.name] = node.kwargs[argument.name]
        elif argument.has_default_value():
            found[argument.name] = argument.default_value
    return found


def _is(value: Any, wanted: Any) -> bool:
    return not isinstance(value, fx.Node) and value == wanted


def _kind(value: Any) -> str:
    """Why a value cannot be held; empty where it can."""
    if isinstance(value, list | tuple):
        return next(filter(None, map(_kind, value)), "")
    if not isinstance(value, Tensor):
        return ""
    if value.dtype not in _KINDS:
        return f"it is of {str(value.dtype).removeprefix('torch.')}"
    return ""


def _is_empty(value: Any) -> bool:
    return isinstance(value, Tensor) and not value.numel()
