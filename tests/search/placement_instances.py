# SPDX-License-Identifier: Apache-2.0
"""Reads the placement instances of msr-fiddle/dnn-partitioning as cuts between two machines.

Their format: Tarnawski et al., "Efficient Algorithms for Device Placement of DNN Graph Operators",
NeurIPS 2020, and the repository's README. A CPU is the device, an accelerator the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from splitc.cost.prices import LinkPrices, Prices
from splitc.ir.graph import INPUT_OP, Layer, LayerGraph, Tensor

MILLI = 10**9
"""Picoseconds of the milliseconds that the files have."""


class Node(msgspec.Struct, rename="camel"):
    """A layer or operator: milliseconds on a CPU and on an accelerator, bytes there."""

    id: int
    supported_on_fpga: bool | int
    cpu_latency: float
    fpga_latency: float
    size: float
    is_backward_node: bool | int = False
    color_class: int | None = None


class Edge(msgspec.Struct, rename="camel"):
    """What one reads of another, and the milliseconds that takes between the two machines."""

    source_id: int
    dest_id: int
    cost: float


class Instance(msgspec.Struct):
    """A file."""

    nodes: list[Node]
    edges: list[Edge]


@dataclass(frozen=True)
class Placing:
    """An instance as a cut is found in it.

    Args:
        graph: Its layers, behind one input that those without a source read.
        prices: Picoseconds of layers and of what is read.
        pinned: Layers that run on no accelerator.
    """

    graph: LayerGraph
    prices: Prices
    pinned: dict[int, int]


def read_instance(data: bytes) -> Placing:
    """Read a file. Nodes of one colour, that have to be together, are not held together."""
    found = msgspec.json.decode(data, type=Instance)
    reads: dict[int, list[str]] = {node.id: [] for node in found.nodes}
    sent: dict[str, int] = {"x": 0}
    for edge in found.edges:
        reads[edge.dest_id].append(f"n{edge.source_id}")
        sent[f"n{edge.source_id}"] = round(edge.cost * MILLI)
    layers = [Layer("x", INPUT_OP, (), (Tensor("x", (1,)),))]
    layers += [
        Layer(f"n{node.id}", "op", tuple(reads[node.id]) or ("x",), (Tensor(f"n{node.id}", (1,)),))
        for node in found.nodes
    ]
    ends = {f"n{node.id}" for node in found.nodes} - {f"n{edge.source_id}" for edge in found.edges}
    graph = LayerGraph.sort(layers, sorted(ends))
    by_name = {f"n{node.id}": node for node in found.nodes}
    nodes = [by_name[layer.name] for layer in graph.layers[1:]]
    head = (0, *(round(node.cpu_latency * MILLI) for node in nodes))
    tail = (0, *(round(node.fpga_latency * MILLI) for node in nodes))
    tensors = {name: sent.get(name, 0) for name in graph.tensors}
    pinned = {i: 0 for i, node in enumerate(nodes, start=1) if not node.supported_on_fpga}
    return Placing(graph, Prices((head, tail), {(0, 1): LinkPrices({**tensors}, 0)}), pinned)


def read_folder(folder: Path) -> dict[str, Placing]:
    """Every instance of a checkout, by its path in it."""
    files = sorted(folder.glob("*-inputs/*/*.json"))
    return {str(path.relative_to(folder)): read_instance(path.read_bytes()) for path in files}
