# SPDX-License-Identifier: Apache-2.0
"""Resizing, gathering at known positions, tiling, borders that repeat, slices run backwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from splitc_targets.graph.graph import Node
from splitc_targets.graph.resizing import Taps, taps_of
from splitc_targets.graph.views import ordered_like
from splitc_targets.kernels import sampling
from splitc_targets.plan.planner import Planner
from splitc_targets.rules.maps import shapes_of

Numbers = np.ndarray[Any, Any]


def sample(planner: Planner, node: Node, taps: Taps, words: str) -> bool:
    """Results that read the first argument at these positions along these axes."""
    x, shape = node.inputs[0], node.output.shape
    if len(x.shape) != len(shape) or 0 in x.shape:
        return False
    maps = len(shape) == 4 and all(axis > 1 for axis in taps)
    view = planner.channels_inner(x) if maps else planner.place(x)
    target = planner.result(node.output, ordered_like(shape, view.strides))
    if 0 in shape:
        return True
    weighted = any(weights is not None for _, weights in taps.values())
    if weighted and x.dtype != "float32":
        return False
    entries: list[Numbers] = []
    shares: list[Numbers] = []
    dimensions: list[sampling.Dimension] = []
    start = 0
    for axis in sorted(range(len(shape)), key=lambda d: (-target.strides[d], d)):
        if axis not in taps:
            if shape[axis] > 1:
                dimensions.append(
                    sampling.Dimension(shape[axis], target.strides[axis], view.strides[axis])
                )
            continue
        positions, weights = taps[axis]
        count = positions.shape[1]
        dimensions.append(sampling.Dimension(shape[axis], target.strides[axis], 0, count, start))
        entries.append((positions * view.strides[axis]).ravel())
        shares.append(np.ones(positions.size) if weights is None else weights.ravel())
        start += positions.size
    if not entries:
        planner.copy(view, target, words)
        return True
    spec = sampling.Sample(tuple(dimensions), view.span, start, weighted, x.dtype)
    tables = [planner.constant(np.concatenate(entries).astype(np.int32))]
    if weighted:
        tables.append(planner.constant(np.concatenate(shares).astype(np.float32)))
    machine = planner.machine
    planner.step(
        ("sample", spec), lambda name: sampling.kernel(name, spec, machine),
        [view, *tables, target], "sample", words, shapes_of(x, node.output), types=spec.types,
    )  # fmt: skip
    return True


def plan_named(planner: Planner, node: Node) -> bool:
    """A move that simplification read from what the front end wrote."""
    return sample(planner, node, node.attrs["taps"], "gather")


def resize(planner: Planner, node: Node) -> bool:
    """Resizing of maps: nearest, linear or cubic, along rows and columns apart."""
    taps = taps_of(node)
    return taps is not None and sample(planner, node, taps, f"resize {node.attrs['method']}")
