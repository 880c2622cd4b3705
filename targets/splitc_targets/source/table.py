# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""Every operator of ONNX's default domain, its attributes, optional inputs and outputs.

Made by holding the converters of TVM 0.27's front end against onnx's schemas, operator by
operator, from opset 7 on; a test fails where a schema has what the tables do not know. The rules
hold for what the rewrites leave (prepare.py): an attribute that "splitc" reads does not reach TVM.
"""

from __future__ import annotations

import onnx

from splitc_targets.source.draft import Node
from splitc_targets.source.rules import Operator, Rule
from splitc_targets.source.table_arithmetic import ARITHMETIC
from splitc_targets.source.table_maps import MAPS
from splitc_targets.source.table_shapes import SHAPES

TABLE: dict[str, Operator] = {**ARITHMETIC, **MAPS, **SHAPES}


def why_not(node: Node) -> str:
    """Why a node that was rewritten as far as it can be is refused; empty where it is not."""
    entry = TABLE.get(node.op)
    if entry is None:
        return "it is no operator that splitc knows"
    if not entry.by:
        return entry.why
    for why in (_attributes(node, entry), _tensors(node, entry), _types(node, entry)):
        if why:
            return why
    return entry.check(node)


def _attributes(node: Node, entry: Operator) -> str:
    for name, value in node.given.items():
        rule = entry.attributes.get(name)
        if rule is None:
            return f"its attribute '{name}' is not known"
        if rule.kind == "refused" or (rule.kind == "only" and value not in rule.values):
            return f"{name}={_shown(value)}: {rule.why}"
    return ""


def _shown(value: object) -> str:
    return value if isinstance(value, str) else repr(value)[:40]


def _tensors(node: Node, entry: Operator) -> str:
    version = max(node.draft.opset, 1)
    if not onnx.defs.has(node.op, version):
        return f"opset {version} does not have it"
    schema = onnx.defs.get_schema(node.op, version)
    for place, formal in enumerate(schema.inputs):
        rule = entry.inputs.get(formal.name)
        if rule is None or not node.input(place):
            continue
        if rule.kind == "refused" or (rule.kind == "stored" and not _is_stored(node, place)):
            return f"its input '{formal.name}': {rule.why}"
    for place, formal in enumerate(schema.outputs):
        rule = entry.outputs.get(formal.name, Rule())
        if rule.kind == "refused" and node.reads(place):
            return f"its output '{formal.name}' is read: {rule.why}"
    return ""


def _is_stored(node: Node, place: int) -> bool:
    return node.input(place) in node.draft.stored


def _types(node: Node, entry: Operator) -> str:
    dtype = node.dtype() if node.proto.input else "unknown"
    if entry.types and dtype != "unknown" and dtype not in entry.types:
        return f"TVM does not compute it on {dtype}"
    return ""
