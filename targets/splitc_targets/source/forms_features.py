# SPDX-License-Identifier: Apache-2.0
"""Operators of ONNX's domain for classical learning, written as others: what scales and picks
features before a network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from splitc_targets.source.draft import Node

DOMAIN = "ai.onnx.ml"


def over_threshold(node: Node) -> bool:
    """Binarizer: 1 where an element is above the threshold, else 0."""
    draft = node.draft
    if node.dtype() != "float32":
        return False
    limit, one, none = (
        draft.constant(np.array(value, np.float32))
        for value in (node.given.get("threshold", 0.0), 1, 0)
    )
    above = draft.add("Greater", node.input(0), limit)
    draft.add("Where", above, one, none, output=node.output(0))
    return True


def picked(node: Node) -> bool:
    """ArrayFeatureExtractor: elements of the last axis; a vector counts as a row."""
    shape, result, draft = node.shape(), node.result_shape(), node.draft
    if not shape or result is None or node.dtype(1) != "int64":
        return False
    flat = draft.add("Reshape", node.input(1), draft.constant(np.array([-1])))
    made = draft.add("Gather", node.input(0), flat, axis=len(shape) - 1)
    whole = draft.constant(np.array(result, np.int64))
    draft.add("Reshape", made, whole, output=node.output(0))
    return True


def scaled(node: Node) -> bool:
    """Scaler: (x - offset) scale, in float32."""
    given, draft = node.given, node.draft
    if not node.shape() or node.dtype() not in ("float32", "float64", "int32", "int64"):
        return False
    x = node.input(0)
    if node.dtype() != "float32":
        x = draft.add("Cast", x, to=TensorProto.FLOAT)
    offset, scale = (np.array(given.get(name, [plain]), np.float32)
                     for name, plain in (("offset", 0.0), ("scale", 1.0)))  # fmt: skip
    moved = draft.add("Sub", x, draft.constant(offset))
    draft.add("Mul", moved, draft.constant(scale), output=node.output(0))
    return True


FEATURES: dict[str, Callable[[Node], bool]] = {
    "ArrayFeatureExtractor": picked, "Binarizer": over_threshold, "Scaler": scaled,
}  # fmt: skip
"""Operators of the domain that are written otherwise."""
