# SPDX-License-Identifier: Apache-2.0
"""Shapes, places, sequences and control flow."""

from __future__ import annotations

from splitc_targets.source.draft import Node
from splitc_targets.source.rules import (
    OLDER,
    OURS,
    STORED,
    TVM,
    Operator,
    missing,
    only,
    op,
    refused,
    stored,
)

_COUNTED = "how many there are depends on values, and code is made for fixed shapes"


def _unread(_: Node) -> str:
    return "its value is text, sparse or missing"


def _unshaped(_: Node) -> str:
    return "its operand has no fixed shape"


def _wrap(node: Node) -> str:
    pads = node.value(1)
    if pads is not None and (pads < 0).any():
        return "pads below zero in another mode than constant"
    return ""


def _scattered(node: Node) -> str:
    way = node.given.get("reduction", "none")
    return (
        f"reduction={way}, which came with opset 18"
        if way in ("max", "min") and node.draft.opset < 18
        else ""
    )


_TURNS = "turns whose number hangs on values, or that are more than 4,096 nodes together"


def _turning(_: Node) -> str:
    return _TURNS


SHAPES: dict[str, Operator] = {
    "CenterCropPad": op("splitc", "axes"),
    "Compress": missing(_COUNTED),
    "Concat": op("TVM", "axis"),
    "ConcatFromSequence": op("TVM", "axis", "new_axis"),
    "Constant": op(
        "splitc", "value", "value_float", "value_floats", "value_int", "value_ints",
        attributes=dict.fromkeys(
            ("sparse_value", "value_string", "value_strings"), refused("it is text or sparse")
        ),
        check=_unread,
    ),
    "ConstantOfShape": op("TVM", "value", inputs={"input": STORED}),
    "Expand": op("TVM", inputs={"shape": STORED}),
    "EyeLike": op("splitc", "dtype", "k"),
    "Flatten": op("TVM", "axis"),
    "Gather": op("TVM", "axis"),
    "GatherElements": op("TVM", "axis"),
    "GatherND": op("TVM", "batch_dims"),
    "If": op("TVM", "else_branch", "then_branch"),
    "Loop": op(
        "splitc", "body", inputs={"M": OURS, "cond": OURS}, check=_turning, note=_TURNS
    ),
    "NonZero": missing(_COUNTED),
    "OneHot": op("splitc", "axis", inputs={"depth": stored()}),
    "Optional": op("TVM", "type", inputs={"input": TVM}),
    "OptionalGetElement": op(),
    "OptionalHasElement": op(inputs={"input": TVM}),
    "Pad": op(
        "TVM", "mode", attributes={"pads": OLDER, "value": OLDER},
        inputs={"pads": STORED, "constant_value": STORED, "axes": STORED}, check=_wrap,
        note="pads below zero in another mode than constant",
    ),
    "Range": op("splitc", attributes={"stash_type": TVM},
                inputs=dict.fromkeys(("start", "limit", "delta"), stored())),
    "Reshape": op("TVM", "allowzero", inputs={"shape": STORED}),
    "ReverseSequence": op("splitc", "batch_axis", "time_axis", check=_unshaped),
    "Scan": op(
        "splitc", "body", "num_scan_inputs", "scan_input_axes", "scan_input_directions",
        "scan_output_axes", "scan_output_directions", check=_turning, note=_TURNS,
        attributes={"directions": OLDER}, inputs={"sequence_lens": OLDER},
    ),
    "Scatter": op("onnx", attributes={"axis": OLDER}),
    "ScatterElements": op("TVM", "axis", "reduction", check=_scattered),
    "ScatterND": op("TVM", "reduction", check=_scattered),
    "SequenceAt": op("TVM", inputs={"position": STORED}),
    "SequenceConstruct": op(),
    "SequenceEmpty": op("TVM", "dtype"),
    "SequenceErase": op(inputs={"position": STORED}),
    "SequenceInsert": op("splitc", inputs={"position": stored()}),
    "SequenceLength": op(),
    "SequenceMap": missing(),
    "Shape": op("splitc", "start", "end"),
    "Size": op("splitc"),
    "Slice": op("TVM", attributes=dict.fromkeys(("axes", "ends", "starts"), OLDER),
                inputs=dict.fromkeys(("starts", "ends", "axes", "steps"), STORED)),
    "Split": op("TVM", "axis", attributes={"split": OLDER, "num_outputs": TVM},
                inputs={"split": STORED}),
    "SplitToSequence": op("splitc", "axis", "keepdims", inputs={"split": stored()}),
    "Squeeze": op("TVM", attributes={"axes": OLDER}, inputs={"axes": STORED}),
    "Tile": op(inputs={"repeats": STORED}),
    "TopK": op("TVM", "axis", "largest", attributes={
        "sorted": only(1, why="their order is left open"), "k": OLDER}, inputs={"K": STORED}),
    "Transpose": op("TVM", "perm"),
    "Trilu": op("TVM", "upper", inputs={"k": stored("TVM")}),
    "Unique": missing(_COUNTED),
    "Unsqueeze": op("TVM", attributes={"axes": OLDER}, inputs={"axes": STORED}),
}  # fmt: skip
