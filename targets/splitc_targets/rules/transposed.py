# SPDX-License-Identifier: Apache-2.0
"""Transposed convolutions: a convolution for each phase of the stride."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from splitc_targets.graph.graph import Node
from splitc_targets.graph.views import View, channels_last
from splitc_targets.kernels.product import geometry
from splitc_targets.loops.fused import Operand
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import as_map, describe, distances, operands
from splitc_targets.rules.products import plan_product


def _transposed(planner: Planner, node: Node) -> bool:
    """Transposed convolution as one convolution for each phase of its stride.

    Results whose row and column leave the same remainder by the stride read the same kernel
    taps, so they are a plain convolution that writes every stride-th row and column.
    """
    x, w, attrs = node.args[0], node.args[1], node.attrs
    if not node.family:
        return False
    line = len(attrs["strides"]) == 1
    weights = w.data[:, :, None, :] if line else w.data
    strides = (1, attrs["strides"][0]) if line else attrs["strides"]
    dilations = (1, attrs["dilation"][0]) if line else attrs["dilation"]
    before = (0, attrs["padding"][0]) if line else attrs["padding"][:2]
    view = planner.channels_inner(x)
    target = planner.result(node.output, channels_last(node.output.shape))
    kinds, extras = operands(planner, node)
    source, whole = as_map(view), as_map(target)
    for row in range(strides[0]):
        for column in range(strides[1]):
            phases = [
                _phase(*numbers)
                for numbers in zip(
                    (row, column),
                    strides,
                    dilations,
                    before,
                    weights.shape[2:],
                    whole.shape[2:],
                    strict=True,
                )
            ]
            if any(phase.count <= 0 for phase in phases):
                continue
            _plan_phase(planner, node, source, whole, kinds, extras, weights, phases, strides)
    return True


@dataclass(frozen=True)
class _Phase:
    """One remainder of a dimension: its kernel taps, and the results it gives.

    Args:
        taps: Places in the kernel, the last one first; none where no place meets the input.
        dilation: Input elements from one tap to the next.
        pad: Results' lead over the input.
        first, count: Results.
    """

    taps: tuple[int, ...]
    dilation: int
    pad: int
    first: int
    count: int


def _phase(
    remainder: int, stride: int, dilation: int, before: int, kernel: int, size: int
) -> _Phase:
    first = (remainder - before) % stride
    count = -(-(size - first) // stride)
    taps = tuple(k for k in range(kernel) if k * dilation % stride == remainder)[::-1]
    apart = dilation // math.gcd(stride, dilation)
    lead = (first + before - taps[-1] * dilation) // stride if taps else 0
    return _Phase(taps, apart, (len(taps) - 1) * apart - lead, first, count)


def _of_taps(weights: Any, groups: int, rows: _Phase, columns: _Phase) -> Any:
    """The kernel of one phase [out channels][channels of a group][rows][columns]."""
    some = weights[:, :, list(rows.taps)][:, :, :, list(columns.taps)]
    parts = np.split(some, groups)
    return np.concatenate([part.transpose(1, 0, 2, 3) for part in parts])


def _plan_phase(
    planner: Planner, node: Node, source: View, whole: View, kinds: tuple[Operand, ...],
    extras: list[View], weights: Any, phases: list[_Phase], strides: tuple[int, int],
) -> None:  # fmt: skip
    rows, columns = phases

    def part(view: View) -> View:
        lines = view.sliced(2, rows.first, rows.count, strides[0])
        return lines.sliced(3, columns.first, columns.count, strides[1])

    def of_phase(kind: Operand, view: View) -> tuple[Operand, View]:
        if kind.kind != "tensor":
            return kind, view
        image, row, pixel = kind.steps(whole.shape[2], whole.shape[3])
        steps = Operand("tensor", pixel * strides[1], row * strides[0], image, kind.dtype)
        return steps, part(as_map(view))

    target = part(whole)
    chosen = [of_phase(kind, view) for kind, view in zip(kinds, extras, strict=True)]
    if not (rows.taps and columns.taps):
        # No tap meets the input: the expression of nothing, not of 0 times what may be infinite.
        nothing = planner.constant(np.zeros((1, 1, 1, 1), np.float32))
        read = [_over_channels(view) if kind.kind == "channel" else view for kind, view in chosen]
        planner.map([nothing, *read], target, node.attrs["expression"], describe(node))
        return
    groups = node.attrs["groups"]
    some = _of_taps(weights, groups, rows, columns)
    n, c, height, width = source.shape
    between = distances(source, whole)
    between["y_pixel"] *= strides[1]
    between["y_row"] *= strides[0]
    spec = geometry.Conv(
        batch=n, height=height, width=width, channels=c // groups, groups=groups,
        out_height=rows.count, out_width=columns.count, out_channels=whole.shape[1],
        kernel=some.shape[2:], stride=(1, 1), dilation=(rows.dilation, columns.dilation),
        pad=(rows.pad, columns.pad),
        **between,
        expression=node.attrs["expression"], operands=tuple(kind for kind, _ in chosen),
        y_dtype=whole.buffer.dtype,
    )  # fmt: skip
    plan_product(planner, node, spec, some, [source, *(view for _, view in chosen), target])


def _over_channels(vector: View) -> View:
    """A vector over channels beside maps."""
    shape, strides = (1, vector.shape[0], 1, 1), (0, vector.strides[0], 0, 0)
    return View(vector.buffer, vector.offset, shape, strides)


RULES: dict[str, Rule] = {
    "nn.conv2d_transpose": _transposed,
    "nn.conv1d_transpose": _transposed,
}
