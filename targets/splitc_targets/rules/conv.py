# SPDX-License-Identifier: Apache-2.0
"""Convolutions of one and two dimensions by constant weights."""

from __future__ import annotations

from collections.abc import Callable

from splitc_targets.graph.graph import Node, Value
from splitc_targets.graph.views import View, channels_last
from splitc_targets.kernels.product import dot, geometry
from splitc_targets.loops.fused import Operand
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import as_map, distances, of_maps, operands
from splitc_targets.rules.products import plan_product
from splitc_targets.rules.window import DEPTHWISE


def _conv(planner: Planner, node: Node) -> bool:
    """By the node's family; by none of ours where it has none."""
    if node.family in DEPTHWISE:
        return DEPTHWISE[node.family](planner, node)
    if not node.family:
        return False
    weights = of_maps(node.args[1].data)
    view = _PLACES[node.family](planner, node)
    target = planner.result(node.output, channels_last(node.output.shape))
    kinds, extras = operands(planner, node)
    spec = forward(node, as_map(view), as_map(target), weights.shape, kinds)
    return plan_product(planner, node, spec, weights, [view, *extras, target])


def _scalars_or_channels(planner: Planner, node: Node) -> View:
    """Channels innermost; where they are few, as it lies: each is read by itself then."""
    few = node.args[1].shape[1] <= _FEW and node.attrs["groups"] == 1
    return planner.place(node.args[0]) if few else planner.channels_inner(node.args[0])


_FEW = 4


def _as_fours(planner: Planner, node: Node) -> View:
    return fours(planner, node.args[0])


def _as_pairs(planner: Planner, node: Node) -> View:
    """Channels innermost, and every pixel's first at an even distance from the first of all."""
    here = planner.channels_inner(node.args[0])
    if any(s % geometry.PAIR for n, s in zip(here.shape, here.strides, strict=True) if s > 1 < n):
        return planner.laid(node.args[0], channels_last(here.shape))
    return here


def _channels_innermost(planner: Planner, node: Node) -> View:
    return planner.channels_inner(node.args[0])


_PLACES: dict[str, Callable[[Planner, Node], View]] = {
    "direct": _scalars_or_channels,
    "half": _channels_innermost,
    "dot": _as_fours,
    "pairs": _as_pairs,
}
"""How the input has to lie, by the node's family."""


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
    node: Node, x: View, y: View, weights: tuple[int, ...], kinds: tuple[Operand, ...]
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


RULES: dict[str, Rule] = {"nn.conv2d": _conv, "nn.conv1d": _conv}
