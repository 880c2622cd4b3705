# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Layers of an exported program by the names that they had before the export."""

from __future__ import annotations

from itertools import count

from torch import fx

from splitc.frontend.torch.form import NAME
from splitc.frontend.torch.layers import TENSOR, Layers, analyse
from splitc.ir.graph import Layer, LayerGraph


def rename_layers(module: fx.GraphModule, wanted: LayerGraph, found: str, boundary: str) -> bool:
    """Give the layers of a module the names that a graph has, tensors theirs.

    Export keeps the layers in their order. Where it made several of one, those come from one
    module; the last of them gets the name, and the others names of their own.

    Args:
        module: A graph in normal form; names are changed in place.
        wanted: The graph of the same network before the export.
        found: A tensor of the module.
        boundary: The same tensor's name before the export.

    Returns:
        Whether it is the same network; False leaves every name as it is.
    """
    layers = analyse(module)
    pairs = _pairs(layers.graph, wanted)
    if pairs is None:
        return False
    before = [(node, dict(node.meta)) for node in module.graph.nodes]
    named = {node.meta.get(NAME, node.target): node for node in module.graph.nodes}
    tensors: dict[str, str] = {}
    for given, layer in pairs:
        named[given.name].meta[NAME] = layer.name
        for made, tensor in zip(given.outputs, layer.outputs, strict=True):
            _name_tensor(layers, made.name, tensor.name)
            tensors[made.name] = tensor.name
    taken = {*wanted.index, *layers.graph.index}
    for name in {*layers.graph.index} - {given.name for given, _ in pairs}:
        if name in wanted.index:
            named[name].meta[NAME] = fresh = next(
                each for k in count(2) if (each := f"{name}.part{k}") not in taken
            )
            taken.add(fresh)
    if tensors.get(found) == boundary and _same(analyse(module).graph, wanted):
        return True
    for node, meta in before:
        node.meta = meta
    return False


def _name_tensor(layers: Layers, name: str, wanted: str) -> None:
    node, keys = layers.element[name]
    node = layers.nodes[name][0] if keys and layers.nodes[name] else node
    if node.op != "placeholder":
        node.meta[TENSOR] = wanted


def _pairs(given: LayerGraph, wanted: LayerGraph) -> list[tuple[Layer, Layer]] | None:
    """The layers of both that are the same."""
    found: list[tuple[Layer, Layer]] = []
    rest = list(given.layers)
    for layer in wanted.layers:
        if not rest:
            return None
        first = last = rest.pop(0)
        while not _alike(last, layer) and rest and _of_one(first.name, rest[0].name):
            last = rest.pop(0)
        if len(last.outputs) != len(layer.outputs):
            return None
        found.append((last, layer))
    return None if rest else found


def _of_one(first: str, name: str) -> bool:
    """Whether two layers were computed in the same module, or one is the other's repetition."""
    owner = first.rpartition(".")[0]
    return name.startswith(f"{first}.") or (owner != "" and name.rpartition(".")[0] == owner)


def _alike(given: Layer, wanted: Layer) -> bool:
    shapes = [[(t.shape, t.dtype) for t in each.outputs] for each in (given, wanted)]
    return given.op == wanted.op and shapes[0] == shapes[1]


def _same(given: LayerGraph, wanted: LayerGraph) -> bool:
    """Whether a graph makes every tensor of another, and its results."""
    made = given.tensors
    same = all(made.get(name) == tensor for name, tensor in wanted.tensors.items())
    return same and given.outputs == wanted.outputs
