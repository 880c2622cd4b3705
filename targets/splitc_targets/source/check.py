# SPDX-License-Identifier: Apache-2.0
"""Which layers of an ONNX model are refused, before anything is lowered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from onnx import TensorProto

from splitc.build.backend import Unsupported
from splitc.frontend.onnx.model import OnnxModel
from splitc.frontend.onnx.older import opset_of
from splitc.frontend.onnx.shapes import skeleton
from splitc_targets.source.converted import CONVERTED
from splitc_targets.source.draft import Draft, Node
from splitc_targets.source.for_tvm import modern
from splitc_targets.source.prepare import draft_of
from splitc_targets.source.quantised import OLDEST_OPSET, REWRITTEN, can_write, in_blocks
from splitc_targets.source.table import why_not


def unsupported(model: OnnxModel) -> list[Unsupported]:
    """The layers that cannot be compiled, and why."""
    bare = modern(skeleton(model.proto))
    draft = draft_of(bare, model.tensors, opset_of(model.proto))
    known = {t.name: t for t in model.proto.graph.initializer} | draft.stored
    found: dict[str, Unsupported] = {}
    for node in _nodes(draft):
        why = _why_not(node, known if node.draft is draft else {})
        if why and node.layer not in found:
            found[node.layer] = Unsupported(node.layer, _op_of(node, model), why)
    return list(found.values())


def _why_not(node: Node, known: Mapping[str, TensorProto]) -> str:
    domain = node.proto.domain
    ours = (domain, node.op) in REWRITTEN
    if domain not in ("", "ai.onnx") and not ours:
        return f"operator of the domain '{domain}'"
    why = why_not(node) if domain in ("", "ai.onnx") else ""
    if why or (node.op in CONVERTED and not in_blocks(node.proto)):
        return why
    if not ours:
        return "TVM has no converter for it"
    return "" if _is_written(node, known) else _UNWRITTEN


_UNWRITTEN = (
    "scales and weights have to be stored, zero points too where inputs are not quantised as "
    "they come, those of activations one for all, and sums less than 2^24"
)


def _is_written(node: Node, known: Mapping[str, TensorProto]) -> bool:
    """Whether it becomes arithmetic on floats: in the graph itself, not in one inside a node."""
    return (
        bool(known)
        and node.draft.opset >= OLDEST_OPSET
        and can_write(node.proto, known, node.draft.tensors)
    )


def _op_of(node: Node, model: OnnxModel) -> str:
    """The operator of the layer, and the one inside it that is meant."""
    own = next((n.op_type for n in model.proto.graph.node if n.name == node.layer), node.op)
    return node.op if own in (node.op, "If", "Loop", "Scan") else f"{own}: {node.op}"


def _nodes(draft: Draft) -> Iterator[Node]:
    for proto in draft.nodes:
        yield Node(proto, draft, proto.doc_string)
    for body in draft.bodies:
        yield from _nodes(body)
