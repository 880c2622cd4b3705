# SPDX-License-Identifier: Apache-2.0
"""Operands that say which shape a result has, stored where that shape is declared."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from splitc.frontend.onnx.settled import settled_operand
from splitc_targets.source.draft import Node


def settled(node: Node) -> NodeProto | None:
    """The node with the operand stored that its result's shape gives; None where none is."""
    found = settled_operand(node.proto, node.draft.tensors)
    if found is None or node.input(found[0]) in node.draft.stored:
        return None
    place, value = found
    made = NodeProto()
    made.CopyFrom(node.proto)
    made.input[place] = node.draft.constant(value)
    return made


def counted_range(node: Node) -> bool:
    """Range of as many elements as its result has: start + k delta."""
    result, draft = node.result_shape(), node.draft
    if result is None or len(result) != 1 or all(node.value(k) is not None for k in range(3)):
        return False
    one = draft.constant(np.array([], np.int64))  # Vectors of one element count as scalars.
    start, delta = (draft.add("Reshape", node.input(k), one) for k in (0, 2))
    steps = draft.constant(np.arange(result[0]).astype(node.dtype()))
    made = draft.add("Mul", steps, delta)
    draft.add("Add", start, made, output=node.output(0))
    return True
