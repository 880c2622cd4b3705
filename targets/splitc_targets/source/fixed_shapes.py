# SPDX-License-Identifier: Apache-2.0
"""Layers whose results have no shape before the network runs: no part can be compiled for them."""

from __future__ import annotations

from onnx import NodeProto

from splitc.build.backend import Unsupported
from splitc.frontend.onnx.bounded import rows_of, why_not_by_rows
from splitc.frontend.onnx.model import OnnxModel

_COUNTED = {
    "Compress": "how many elements it keeps",
    "NonMaxSuppression": "how many boxes it keeps",
    "NonZero": "how many elements are not zero",
    "Unique": "how many elements are different",
}
"""Operators whose results are as long as their operands' values make them."""

_DECIDES: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,), "CenterCropPad": (1,), "Col2Im": (1, 2), "ConstantOfShape": (0,),
    "Expand": (1,), "MaxUnpool": (2,), "OneHot": (1,), "Pad": (1, 3), "Range": (0, 1, 2),
    "Reshape": (1,), "Resize": (2, 3), "Slice": (1, 2, 3, 4), "Split": (1,), "Squeeze": (1,),
    "Tile": (1,), "TopK": (1,), "Unsqueeze": (1,), "Upsample": (1,),
    "ReduceL1": (1,), "ReduceL2": (1,), "ReduceLogSum": (1,), "ReduceLogSumExp": (1,),
    "ReduceMax": (1,), "ReduceMean": (1,), "ReduceMin": (1,), "ReduceProd": (1,),
    "ReduceSum": (1,), "ReduceSumSquare": (1,),
}  # fmt: skip
"""Operands whose values say which shape the result has."""


def shapeless(model: OnnxModel) -> list[Unsupported]:
    """Layers whose result has a shape that only values give, the first on each path."""
    layers = model.graph.index
    found: list[Unsupported] = []
    for node in model.proto.graph.node:
        if node.name not in layers or node.domain not in ("", "ai.onnx"):
            continue
        if not all(_fixed(model, name) for name in node.input):
            continue
        why = _why(model, node)
        if why:
            found.append(Unsupported(node.name, node.op_type, why))
    return found


def _why(model: OnnxModel, node: NodeProto) -> str:
    counted = _COUNTED.get(node.op_type)
    if counted and rows_of(model, node) is None:
        read = why_not_by_rows(model, node) if node.op_type == "NonMaxSuppression" else ""
        why = f"{counted} depends on values, and code is made for fixed shapes"
        return f"{why}; {read}" if read else why
    if counted:
        return ""
    if all(_fixed(model, name) for name in node.output):
        return ""
    for place in _DECIDES.get(node.op_type, ()):
        name = node.input[place] if len(node.input) > place else ""
        if name in model.graph.producer:
            return (
                f"'{name}', which is computed while it runs, decides the shape of its result, "
                "and code is made for fixed shapes"
            )
    return ""


def _fixed(model: OnnxModel, name: str) -> bool:
    tensor = model.tensors.get(name)
    return not name or (tensor is not None and tensor.elements is not None)
