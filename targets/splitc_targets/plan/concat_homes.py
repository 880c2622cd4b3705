# SPDX-License-Identifier: Apache-2.0
"""Concatenation without copies: parts are written where the whole will lie."""

from __future__ import annotations

from splitc_targets.graph.graph import NARROW, Value
from splitc_targets.graph.views import View, channels_last
from splitc_targets.plan.planner import Planner

WRITES_ANYWHERE = frozenset({
    "nn.conv2d", "nn.conv2d_transpose", "nn.max_pool2d", "nn.avg_pool2d", "map", "typed map",
    "concat", "lrn",
})  # fmt: skip
"""Operations whose kernels can leave gaps between the pixels of their result."""


def find_homes(planner: Planner) -> None:
    """Give parts of channel-wise concatenations their place in the whole, the last one first.

    A part that is itself a concatenation lies inside of the later one, so that a dense
    block's growing tensor is one buffer that every layer appends to.
    """
    homes = planner.homes
    for node in reversed(planner.graph.nodes):
        if node.op != "concat" or node.attrs["axis"] != 1 or len(node.output.shape) != 4:
            continue
        whole = node.output
        if whole.dtype not in ("float32", *NARROW) or (
            whole in homes and homes[whole].strides[1] != 1
        ):
            continue
        parts = node.args[0]
        if not any(_can_write(part) for part in parts):
            continue
        if whole not in homes:
            homes[whole] = planner.fresh(whole.shape, whole.dtype, channels_last(whole.shape))
        start = 0
        for part in parts:
            slot: View = homes[whole].sliced(1, start, part.shape[1])
            start += part.shape[1]
            if _can_write(part) and part not in homes and parts.count(part) == 1:
                homes[part] = slot


def _can_write(part: Value) -> bool:
    return part.producer is not None and part.producer.op in WRITES_ANYWHERE
