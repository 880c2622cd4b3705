# SPDX-License-Identifier: Apache-2.0
"""Regions of maps brought to one size."""

from __future__ import annotations

from splitc_targets.graph.graph import Node
from splitc_targets.graph.views import channels_last
from splitc_targets.kernels import regions
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import shapes_of


def _aligned(planner: Planner, node: Node) -> bool:
    """(maps [N, C, H, W], regions [R, 5]) -> maps [R, C, h, w]."""
    x, rois = node.args
    attrs = node.attrs
    if not x.dtype == rois.dtype == "float32" or 0 in (x.size, node.output.size):
        return False
    if attrs["mode"] != "avg" or attrs["layout"] != "NCHW":
        return False
    source, corners = planner.laid(x, channels_last(x.shape)), planner.place(rois)
    shape = node.output.shape
    target = planner.fresh(shape, "float32", channels_last(shape))
    planner.set(node.output, target)
    image, _, row, column = source.strides
    spec = regions.Regions(
        (x.shape[2], x.shape[3]), x.shape[0], x.shape[1], shape[0], (shape[2], shape[3]),
        (image, row, column), (corners.strides[0], corners.strides[1]), attrs["spatial_scale"],
        max(0, attrs["sample_ratio"]), bool(attrs["aligned"]),
    )  # fmt: skip
    machine = planner.machine
    planner.step(
        ("regions", spec), lambda name: regions.kernel(name, spec, machine),
        [source, corners, target], "regions", node.op, shapes_of(x, rois, node.output),
        8 * node.output.size * max(1, spec.samples**2),
    )  # fmt: skip
    return True


RULES: dict[str, Rule] = {"vision.roi_align": _aligned}
