# SPDX-License-Identifier: Apache-2.0
"""Tensors between kernels in float16: half the memory, and half of what kernels load and store."""

from __future__ import annotations

from typing import Any, cast

from splitc_targets.graph.expression import Expression, operations
from splitc_targets.graph.views import Buffer
from splitc_targets.plan.planner import Plan, Step
from splitc_targets.transforms.widen import HALF, SINGLE
from splitc_targets.tvm.reader import NotReadable

KINDS = frozenset({
    "attention", "depthwise", "lrn", "map", "norm", "parts", "pool", "product", "reduce", "sample",
    "softmax", "whole",
})  # fmt: skip
"""Kernels, by what their keys begin with, that read what they have written nowhere: each number
is rounded once."""


_BYTES = ("int8", "uint8")


def store_halves(plan: Plan) -> None:
    """Keep floats between kernels in float16, where only kernels of `KINDS` touch them.

    Inputs, results, constants and parts of sums stay as they are. So does all of a network of
    whole numbers: float16 has those up to 2048 only, and sums of bytes are larger.
    """
    if any(map(_counts, plan.steps)):
        return
    touched: dict[Buffer, bool] = {}
    for step in plan.steps:
        for number, view in enumerate(step.args):
            good = _kind(step) in KINDS and not (_kind(step) == "parts" and number == 0)
            touched[view.buffer] = touched.get(view.buffer, True) and good
    for buffer, good in touched.items():
        if good and buffer.kind == "arena" and buffer.dtype == SINGLE:
            buffer.dtype = HALF


def refuse_halves(plan: Plan) -> None:
    """Raise where TVM's loops would read or write float16.

    Raises:
        NotReadable: They would.
    """
    for step in plan.steps:
        halves = any(view.buffer.dtype == HALF for view in step.args)
        if halves and _kind(step) == "tvm":
            raise NotReadable("no loops for graphics processors hold float16", step.op)


def _kind(step: Step) -> str:
    return cast("tuple[str, ...]", step.key)[0]


def _counts(step: Step) -> bool:
    """Whether a step has whole numbers: bytes, or floats that it rounds."""
    spec: Any = cast("tuple[Any, ...]", step.key)[1]
    fused = getattr(spec, "conv", spec)
    expression: Expression | None = getattr(fused, "expression", None)
    rounds = expression is not None and "round" in operations(expression)
    return rounds or any(view.buffer.dtype in _BYTES for view in step.args)
