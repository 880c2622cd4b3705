# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Where in a tensor the samples of a batch are, so that no reshape need hold their number.

A batch of B samples takes an axis of k * B elements, samples outermost: k heads of one
sample, then k of the next. ONNX writes B into the constants that its reshapes read.
"""

from __future__ import annotations

from collections.abc import Iterable

from splitc.frontend.convert.registry import Node
from splitc.ir.graph import Tensor
from splitc.ir.kinds import kind_of

_ALONG = ("cast", "identity", "dropout", "softmax", "logsoftmax", "layernormalization",
          "rmsnormalization", "lpnormalization", "cumsum", "trilu", "pad", "resize",
          "topk")  # fmt: skip
"""Operators that are no elementwise ones and leave every element where it is."""


def followed(node: Node, result: Tensor) -> int | None:
    """The axis of the batch in a result, where its converter does not say.

    Elementwise operators leave the batch on whatever axis it is, others on the first.
    """
    name, shape = node.op.lower(), result.shape or ()
    anywhere = name in _ALONG or kind_of(name) == "elementwise"
    for operand in node.operands:
        if operand is None or operand.batch_axis is None:
            continue
        axis, given = operand.batch_axis, operand.tensor.shape or ()
        place = axis + len(shape) - len(given)
        fits = 0 <= place < len(shape) and shape[place] == given[axis]
        if fits and (anywhere or (axis == place == 0)):
            return place
    return None


def without(axis: int | None, gone: Iterable[int], *, keep: bool = False) -> int | None:
    """The axis of the batch where some axes are reduced, to one element or to none."""
    dropped = set(gone)
    if axis is None or axis in dropped:
        return None
    return axis if keep else axis - sum(each < axis for each in dropped)


def product(node: Node, rank: int) -> int | None:
    """The axis of the batch in a matrix product: never the one that is summed over."""
    for k in range(2):
        operand = node.operand(k)
        size = len(operand.tensor.shape or ())
        if operand.batch_axis is None or operand.batch_axis == (size - 1, size - 2)[k]:
            continue
        if size > 1:
            return operand.batch_axis + rank - size
    return None
