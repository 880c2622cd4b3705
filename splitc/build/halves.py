# SPDX-License-Identifier: Apache-2.0
"""Numbers that float16 does not hold, found before a GPU makes them infinite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from splitc.arrays import Arrays
from splitc.build.part_job import PartJob
from splitc.cost.board import Gpu
from splitc.ir.graph import LayerGraph
from splitc.ir.kinds import kind_of
from splitc.ir.model import Network
from splitc.ir.segment import Segment

_MOST = float(np.finfo(np.float16).max)
_PRODUCTS = frozenset(("conv", "gemm"))


def beyond_halves(parts: Sequence[PartJob], feed: Arrays) -> list[str]:
    """What to say of parts that keep numbers in float16 which reach beyond its largest, 65504.

    Looked at is what products read and what several layers read, which is in memory in float16;
    what is fused into the kernel before is computed in float32 and may be larger.

    Args:
        parts: What is compiled.
        feed: A sample: arrays by the name of the network's input.
    """
    return [
        said
        for part in parts
        if isinstance(unit := part.at.board.unit, Gpu) and unit.precision == "float16"
        if part.batch == 1
        if (said := _said(part, feed))
    ]


def _said(part: PartJob, feed: Arrays) -> str:
    stored = _stored(part.network.graph, part.segment.layers)
    values = _values(part.network, stored, feed)
    largest = {name: float(np.abs(array).max()) for name, array in values.items() if array.size}
    worst = max(largest, key=lambda name: largest[name], default="")
    if not worst or largest[worst] <= _MOST:
        return ""
    return (
        f"{part.name}: '{worst}' reaches {largest[worst]:.2g} on a golden sample, and float16 ends "
        f"at {_MOST:.0f}: results may be infinite or no number; --precision tf32 reaches farther"
    )


def _stored(graph: LayerGraph, layers: Collection[str]) -> list[str]:
    """Names of the float tensors that some of a network's layers hand on in memory."""
    inside = [graph.layer(name) for name in layers]
    readers = Counter(name for layer in inside for name in set(layer.inputs))
    multiplied = {
        name for layer in inside if kind_of(layer.op) in _PRODUCTS for name in layer.inputs
    }
    return [
        tensor.name
        for layer in graph.layers
        for tensor in layer.outputs
        if tensor.dtype == "float32"
        if tensor.name in multiplied or readers[tensor.name] > 1
    ]


def _values(network: Network, names: Collection[str], feed: Arrays) -> Arrays:
    """What a network makes of a sample between its layers, by the tensors' names."""
    graph = network.graph
    layers = tuple(layer.name for layer in graph.layers[graph.input_count :])
    asked = tuple(graph.tensors[name] for name in names)
    made = network.extract(Segment("values", layers, graph.inputs, asked, graph.output_tensors))
    values = made.run(feed)
    return {name: values[name] for name in names}
