# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Operations of our own on their way through Relax: calls of functions that nobody has.

A front end writes one; the reader of Relax makes a node of it, with the operation's name and its
attributes; a rule plans it. No pass of TVM's looks inside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import tvm
from tvm import relax

_PREFIX = "splitc."


def own_call(
    op: str, args: Sequence[Any], attrs: Mapping[str, Any], kinds: Sequence[tuple[Any, str]]
) -> Any:
    """A call of an operation of our own, to be bound.

    Args:
        op: Its name, as rules know it.
        args: Relax expressions.
        attrs: What JSON holds; the reader gives tuples for lists.
        kinds: Shape and element type of each result, two or more.
    """
    types = [relax.TensorType(shape, dtype) for shape, dtype in kinds]
    given = relax.Tuple([*args, tvm.ir.StringImm(json.dumps(dict(attrs)))])
    return relax.op.call_dps_packed(relax.ExternFunc(_PREFIX + op), given, types)


def own_operation(call: Any) -> tuple[str, list[Any], dict[str, Any]] | None:
    """Name, arguments and attributes of such a call; None for any other."""
    if call.op != tvm.ir.Op.get("relax.call_dps_packed"):
        return None
    function, given = call.args[:2]
    name = str(function.global_symbol)
    if not name.startswith(_PREFIX):
        return None
    *args, attrs = given.fields
    return name.removeprefix(_PREFIX), args, _frozen(json.loads(attrs.value))


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(each) for key, each in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
