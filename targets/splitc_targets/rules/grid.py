# SPDX-License-Identifier: Apache-2.0
"""Maps sampled where a grid says."""

from __future__ import annotations

import math

from splitc_targets.graph.graph import Node
from splitc_targets.graph.views import channels_last, packed
from splitc_targets.kernels import grid
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import shapes_of

_MANY = 8
"""Channels from which they are laid side by side to be read."""


def _sampled(planner: Planner, node: Node) -> bool:
    """(maps [N, C, ...], grid [N, axes, ...]) -> maps [N, C, ...]."""
    x, places = node.args
    attrs, rank = node.attrs, len(x.shape) - 2
    if not x.dtype == places.dtype == "float32" or rank not in (2, 3) or node.output.size == 0:
        return False
    if attrs["method"] not in grid.TAPS or attrs["padding_mode"] not in grid.PADDINGS:
        return False
    if x.size == 0 or (rank == 3 and attrs["method"] == "bicubic"):
        return False
    n, channels, *sizes = x.shape
    source, beside = planner.place(x), channels >= _MANY
    if beside:
        source = planner.laid(x, channels_last(x.shape))
    points = math.prod(places.shape[2:])
    flat = planner.place(places).reshaped((n, rank, points))
    flat = flat or planner.dense(places).reshaped((n, rank, points))
    assert flat is not None
    shape = node.output.shape
    target = planner.fresh(shape, "float32", channels_last(shape) if beside else packed(shape))
    planner.set(node.output, target)
    y = target.reshaped((n, channels, points)) or target
    spec = grid.Grid(
        tuple(sizes), n, channels, points, source.strides, _three(flat.strides), _three(y.strides),
        attrs["method"], attrs["padding_mode"], bool(attrs["align_corners"]),
    )  # fmt: skip
    machine = planner.machine
    planner.step(
        ("grid", spec), lambda name: grid.kernel(name, spec, machine), [source, flat, target],
        "grid", f"grid_sample {spec.method}", shapes_of(x, places, node.output),
        2 * node.output.size * spec.taps,
    )  # fmt: skip
    return True


def _three(strides: tuple[int, ...]) -> tuple[int, int, int]:
    first, second, third = strides
    return first, second, third


RULES: dict[str, Rule] = {"image.grid_sample": _sampled}
