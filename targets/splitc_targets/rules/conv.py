# SPDX-License-Identifier: Apache-2.0
"""Convolutions: which kernel each gets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from splitc_targets.graph.expression import Arg, operations, substitute
from splitc_targets.graph.graph import (
    NARROW,
    Node,
    Value,
    is_depthwise,
    usual_layouts,
    whole_numbers,
)
from splitc_targets.graph.views import View, channels_last
from splitc_targets.kernels.product import direct, dot, geometry, half
from splitc_targets.kernels.winograd import filters
from splitc_targets.kernels.winograd import kernel as winograd
from splitc_targets.loops import epilogue
from splitc_targets.loops.epilogue import beside_types
from splitc_targets.plan.choices import direct_for, winograd_for
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import as_map, describe, distances, of_maps, operands, shapes_of
from splitc_targets.rules.window import plan_depthwise
from splitc_targets.transforms.widen import HALF


def _conv(planner: Planner, node: Node) -> bool:
    """Two- and one-dimensional convolution by constant weights."""
    x, w = node.args[0], node.args[1]
    attrs = node.attrs
    if "form" in attrs:
        return _conv_of_narrow(planner, node)
    if w.data is None or x.dtype not in ("float32", *NARROW):
        return False
    if not usual_layouts(node):
        return False
    if is_depthwise(node):
        return plan_depthwise(planner, node)
    few = w.shape[1] <= 4 and attrs["groups"] == 1
    view = planner.place(x) if few else planner.channels_inner(x)
    target = planner.result(node.output, channels_last(node.output.shape))
    kinds, extras = operands(planner, node)
    weights = of_maps(w.data)
    spec = forward(node, as_map(view), as_map(target), weights.shape, kinds)
    exact = whole_numbers(weights) and "round" not in operations(attrs["expression"])
    tile = None if exact else winograd_for(planner.choices, spec, planner.machine)
    if tile is not None:
        return _plan_winograd(planner, node, spec, tile, weights, [view, *extras, target])
    return plan_direct(planner, node, spec, weights, [view, *extras, target])


def _conv_of_narrow(planner: Planner, node: Node) -> bool:
    """A convolution whose input lies as bytes or float16, and whose weights can too."""
    weights = of_maps(node.args[1].data)
    place = planner.channels_inner if node.attrs["form"].dtype == HALF else partial(fours, planner)
    view = as_map(place(node.args[0]))
    target = planner.result(node.output, channels_last(node.output.shape))
    kinds, extras = operands(planner, node)
    spec = forward(node, view, as_map(target), weights.shape, kinds)
    return plan_narrow(planner, node, spec, weights, [view, *extras, target])


def fours(planner: Planner, value: Value) -> View:
    """Bytes with channels innermost, every pixel's in whole elements of four.

    The bytes beyond the channels may be anything; weights there are 0.
    """
    shape = (value.shape[0], -(-value.shape[1] // dot.FOUR) * dot.FOUR, *value.shape[2:])
    here = planner.place(value)
    steps = [s for d, (n, s) in enumerate(zip(here.shape, here.strides, strict=True))
             if d != 1 and n > 1]  # fmt: skip
    if here.strides[1] == 1 and not any(s % dot.FOUR for s in steps):
        last = here.offset + here.span + shape[1] - value.shape[1]
        if last <= here.buffer.size:
            return View(here.buffer, here.offset, shape, here.strides)
    target = planner.fresh(shape, value.dtype, channels_last(shape))
    planner.copy(here, target.sliced(1, 0, value.shape[1]), "layout")
    return target


def forward(
    node: Node, x: View, y: View, weights: tuple[int, ...], kinds: tuple[epilogue.Operand, ...]
) -> geometry.Conv:
    """The convolution that a node describes, on these views of [N, C, H, W]."""
    attrs, (n, c, height, width) = node.attrs, x.shape
    groups, line = attrs["groups"], len(attrs["strides"]) == 1

    def pair(numbers: tuple[int, ...], missing: int) -> tuple[int, int]:
        return (missing, numbers[0]) if line else (numbers[0], numbers[1])

    return geometry.Conv(
        batch=n, height=height, width=width, channels=c // groups, groups=groups,
        out_height=y.shape[2], out_width=y.shape[3], out_channels=y.shape[1],
        kernel=(weights[2], weights[3]), stride=pair(attrs["strides"], 1),
        dilation=pair(attrs["dilation"], 1), pad=pair(attrs["padding"], 0),
        **distances(x, y), expression=attrs["expression"], operands=kinds,
        y_dtype=y.buffer.dtype,
    )  # fmt: skip


def _transposed(planner: Planner, node: Node) -> bool:
    """Transposed convolution as one convolution for each phase of its stride.

    Results whose row and column leave the same remainder by the stride read the same kernel
    taps, so they are a plain convolution that writes every stride-th row and column.
    """
    x, w = node.args[0], node.args[1]
    attrs = node.attrs
    if w.data is None or x.dtype != "float32" or attrs["kernel_layout"] not in ("IOHW", "IOW"):
        return False
    if 0 in (x.size, node.output.size):
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
    planner: Planner, node: Node, source: View, whole: View, kinds: tuple[epilogue.Operand, ...],
    extras: list[View], weights: Any, phases: list[_Phase], strides: tuple[int, int],
) -> None:  # fmt: skip
    rows, columns = phases

    def part(view: View) -> View:
        lines = view.sliced(2, rows.first, rows.count, strides[0])
        return lines.sliced(3, columns.first, columns.count, strides[1])

    def of_phase(kind: epilogue.Operand, view: View) -> tuple[epilogue.Operand, View]:
        if kind.kind != "tensor":
            return kind, view
        image, row, pixel = kind.steps(whole.shape[2], whole.shape[3])
        steps = epilogue.Operand("tensor", pixel * strides[1], row * strides[0], image, kind.dtype)
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
    )  # fmt: skip
    plan_direct(planner, node, spec, some, [source, *(view for _, view in chosen), target])


def _over_channels(vector: View) -> View:
    """A vector over channels beside maps."""
    shape, strides = (1, vector.shape[0], 1, 1), (0, vector.strides[0], 0, 0)
    return View(vector.buffer, vector.offset, shape, strides)


def plan_direct(
    planner: Planner, node: Node, spec: geometry.Conv, weights: Any, args: list[View],
    rule: str = "",
) -> bool:  # fmt: skip
    """Append a direct convolution; `args` are the input, the operands and the result."""
    machine = planner.machine
    spec = direct_for(planner.choices, spec)
    packed = direct.pack(np.ascontiguousarray(weights), spec, machine)
    return append(
        planner, node, ("conv", spec), planner.constant(packed), args,
        lambda name: direct.kernel(name, spec, machine, packed.size), spec.flops, rule,
        types=("float32", "float32", *beside_types(spec)),
    )  # fmt: skip


def append(
    planner: Planner, node: Node, key: tuple[Any, ...], packed: View, args: list[View],
    build: Callable[[str], Any], flops: int, rule: str = "", *, types: Sequence[str],
) -> bool:  # fmt: skip
    """Append a kernel that reads packed weights behind its input.

    Args:
        planner: Gets the step.
        node: What is computed.
        key: Begins with the kernel's kind, by which the rule is named where no other is given.
        packed: Weights in the order the kernel reads them.
        args: The input, the operands and the result.
        build: Makes the kernel, given its name.
        flops: Operations of the mathematics.
        rule: The rule's name.
        types: The element types of the kernel's parameters.
    """
    view, *rest = args
    planner.step(
        key, build, [view, packed, *rest], rule or key[0], describe(node),
        shapes_of(node.args[0], node.args[1], node.output), flops, types,
    )  # fmt: skip
    return True


def plan_narrow(
    planner: Planner, node: Node, spec: geometry.Conv, weights: Any, args: list[View]
) -> bool:
    """Append a convolution of the form that a node's attribute names."""
    if node.attrs["form"].dtype != HALF:
        return _plan_dot(planner, node, spec, weights, args)
    row = planner.machine.multiplying(HALF)
    if row is None:
        return False
    machine = planner.machine.using(row)
    spec = half.tiled(spec, machine)
    packed = half.pack(np.ascontiguousarray(weights), spec, machine)
    return append(
        planner, node, ("half", spec), planner.constant(packed), args,
        lambda name: half.kernel(name, spec, machine, row, packed.size), spec.flops,
        types=(HALF, HALF, *beside_types(spec)),
    )  # fmt: skip


def _plan_dot(
    planner: Planner, node: Node, spec: geometry.Conv, weights: Any, args: list[View]
) -> bool:
    """Append a convolution of bytes; `args` are the input, the operands and the result.

    Args:
        planner: Gets the step.
        node: Its attribute `form` says what number less byte of the input is.
        spec: In bytes, whole elements of four for each pixel.
        weights: Whole numbers [out channels][channels][rows][columns].
        args: Views; the input's channels may be more than the weights'.
    """
    row = planner.machine.multiplying("int8")
    if row is None:
        return False
    machine, offset = planner.machine.using(row), round(node.attrs["form"].offset)
    view, *extras, target = args
    start = np.zeros(len(weights))
    expression, number = epilogue.without_bias(spec.expression, spec.operands)
    if number is not None:
        bias = np.asarray(extras[number].buffer.data)
        if np.array_equal(bias, np.rint(bias)) and np.abs(bias).max() < 2**30:
            start = bias
            del extras[number]
            spec = replace(
                spec,
                expression=substitute(expression, lambda i: Arg(i - (i > number + 1))),
                operands=spec.operands[:number] + spec.operands[number + 1 :],
            )
    spec = replace(
        spec, channels=-(-spec.channels // dot.FOUR), x_channel=1,
        **{name: getattr(spec, name) // dot.FOUR for name in ("x_pixel", "x_row", "x_image")},
    )  # fmt: skip
    packed = dot.pack(weights, start, offset, spec, machine)
    return append(
        planner, node, ("dot", spec, offset, packed.size), planner.constant(packed),
        [view, *extras, target],
        lambda name: dot.kernel(name, spec, machine, row, packed.size, offset),
        spec.flops * dot.FOUR,
        types=(row.reads, "int32", *beside_types(spec)),
    )  # fmt: skip


def _plan_winograd(
    planner: Planner, node: Node, spec: geometry.Conv, tile: int, weights: Any, args: list[View]
) -> bool:
    """Append a convolution by Winograd's algorithm, with the scratch memory it works in."""
    machine = planner.machine
    plain = planner.constant(filters.plain(np.asarray(weights), spec, machine, tile))
    size = filters.size(spec, machine, tile)
    packed = planner.prepared(
        filters.key(spec, machine, tile),
        lambda name: filters.kernel(name, spec, machine, tile),
        plain, size, f"winograd{tile} filters",
    )  # fmt: skip
    room = winograd.workspace(spec, machine, tile)
    *read, target = args
    return append(
        planner, node, ("winograd", spec, tile), packed,
        [*read, planner.fresh((room,), "float32", (1,)), target],
        lambda name: winograd.kernel(name, spec, machine, tile, size), spec.flops,
        f"winograd{tile}", types=("float32",) * (len(args) + 2),
    )  # fmt: skip


RULES: dict[str, Rule] = {
    "nn.conv2d": _conv,
    "nn.conv1d": _conv,
    "nn.conv2d_transpose": _transposed,
    "nn.conv1d_transpose": _transposed,
}
