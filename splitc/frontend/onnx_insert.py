# SPDX-License-Identifier: Apache-2.0
"""New nodes in an ONNX model, and nodes taken out of one; the given model stays as it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from onnx import ModelProto, numpy_helper

from splitc.errors import UnsupportedOpError
from splitc.graph import Tensor
from splitc.insertion import Insertion


def insert_nodes(
    proto: ModelProto, tensors: Mapping[str, Tensor], tensor: str, chain: Sequence[Insertion]
) -> tuple[ModelProto, dict[str, Tensor]]:
    """A model with the nodes of a chain between a tensor and its readers.

    Args:
        proto: A model in normal form.
        tensors: Its tensors.
        tensor: The tensor's name.
        chain: The layers to insert.

    Returns:
        The model, and its tensors with the new ones among them.

    Raises:
        UnsupportedOpError: ONNX has no operator for a layer.
    """
    made = ModelProto()
    made.CopyFrom(proto)
    known = dict(tensors)
    new = list(made.graph.node)[:0]
    read = tensor
    for each in chain:
        if each.node is None:
            raise UnsupportedOpError(
                f"ONNX has no '{each.op}'",
                why="the layer exists for training",
                hint="load the network as a PyTorch module, or convert it: splitc.to_torch(model)",
            )
        name = f"{tensor}.{each.name}"
        node, arrays = each.node(read, name)
        node.name = name
        new.append(node)
        for key, array in arrays.items():
            made.graph.initializer.append(numpy_helper.from_array(array, key))
            known[key] = Tensor(key, array.shape, array.dtype.name)
        known[name] = Tensor(name, each.shape, each.dtype)
        read = name
    nodes = list(made.graph.node)
    at = next((i + 1 for i, node in enumerate(nodes) if tensor in node.output), 0)
    for node in nodes:
        for k, name in enumerate(node.input):
            if name == tensor:
                node.input[k] = read
    del made.graph.node[:]
    made.graph.node.extend([*nodes[:at], *new, *nodes[at:]])
    return made, known


def bypass_nodes(proto: ModelProto, names: Collection[str]) -> ModelProto:
    """A model without the nodes of these names: readers read what they read."""
    made = ModelProto()
    made.CopyFrom(proto)
    instead: dict[str, str] = {}
    kept = list(made.graph.node)[:0]
    for node in made.graph.node:
        for k, name in enumerate(node.input):
            node.input[k] = instead.get(name, name)
        if node.name in names:
            instead[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del made.graph.node[:]
    made.graph.node.extend(kept)
    return made
