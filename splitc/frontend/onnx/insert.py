# SPDX-License-Identifier: Apache-2.0
"""New nodes in an ONNX model, and nodes taken out of one; the given model stays as it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import onnx
from onnx import ModelProto, NodeProto, ValueInfoProto, numpy_helper

from splitc.errors import UnsupportedOpError
from splitc.frontend.onnx.form import reads
from splitc.frontend.onnx.older import opset_of
from splitc.frontend.onnx.read import subgraphs_of
from splitc.ir.chain import Insertion
from splitc.ir.graph import Tensor


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
        UnsupportedOpError: ONNX has no operator for a layer, or not in the model's opset.
    """
    made = ModelProto()
    made.CopyFrom(proto)
    known = dict(tensors)
    opset = opset_of(made) or 1
    new = list(made.graph.node)[:0]
    read = tensor
    for each in chain:
        if each.node is None:
            raise UnsupportedOpError(
                f"ONNX has no '{each.op}'",
                why="the layer runs in PyTorch only",
                hint="compile it with --to-torch; in Python: splitc.to_torch(model)",
            )
        name = f"{tensor}.{each.name}"
        node, arrays = each.node(read, name)
        node.name = name
        _check_form(node, opset)
        new.append(node)
        for key, array in arrays.items():
            made.graph.initializer.append(numpy_helper.from_array(array, key))
            known[key] = Tensor(key, array.shape, array.dtype.name)
        known[name] = Tensor(name, each.shape, each.dtype)
        read = name
    nodes = list(made.graph.node)
    at = next((i + 1 for i, node in enumerate(nodes) if tensor in node.output), 0)
    for node in nodes:
        read_instead(node, {tensor: read})
    del made.graph.node[:]
    made.graph.node.extend([*nodes[:at], *new, *nodes[at:]])
    return made, known


def _check_form(node: NodeProto, opset: int) -> None:
    """Refuse an operator that the model's opset has not, or not with these operands."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
        taken = schema.min_input <= len(node.input) <= schema.max_input
    except onnx.defs.SchemaError:
        taken = False
    if not taken:
        raise UnsupportedOpError(
            f"opset {opset} has no {node.op_type} of this form",
            at=f"layer '{node.name}'",
            hint="convert the model: onnx.version_converter.convert_version(model, 13)",
        )


def bypass_nodes(proto: ModelProto, names: Collection[str]) -> ModelProto:
    """A model without the nodes of these names: readers read what they read."""
    made = ModelProto()
    made.CopyFrom(proto)
    instead: dict[str, str] = {}
    kept = list(made.graph.node)[:0]
    stored = {t.name for t in made.graph.initializer}
    dropped: set[str] = set()
    for node in made.graph.node:
        read_instead(node, instead)
        if node.name in names:
            instead[node.output[0]] = next(name for name in node.input if name not in stored)
            dropped.update(node.input)
        else:
            kept.append(node)
    del made.graph.node[:]
    made.graph.node.extend(kept)
    _drop_unread(made, dropped)
    _rename_results(made, instead)
    return made


def read_instead(node: NodeProto, instead: Mapping[str, str]) -> None:
    """Let a node, and the graphs inside it, read other tensors."""
    for k, name in enumerate(node.input):
        node.input[k] = instead.get(name, name)
    for attribute in node.attribute:
        for graph in subgraphs_of(attribute):
            own = {each.name for each in (*graph.input, *graph.initializer)}
            own |= {name for inner in graph.node for name in inner.output}
            outer = {name: new for name, new in instead.items() if name not in own}
            for inner in graph.node:
                read_instead(inner, outer)
            for value in graph.output:
                value.name = outer.get(value.name, value.name)


def _drop_unread(proto: ModelProto, names: Collection[str]) -> None:
    read = {name for node in proto.graph.node for name in reads(node)}
    kept = [t for t in proto.graph.initializer if t.name in read or t.name not in names]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)


def _rename_results(proto: ModelProto, instead: Mapping[str, str]) -> None:
    """A result that a layer made which is no more is what the layer read."""
    results = {value.name: value for value in proto.graph.output}
    kept: dict[str, ValueInfoProto] = {}
    for value in results.values():
        name = instead.get(value.name, value.name)
        kept[name] = ValueInfoProto(name=name, type=results.get(name, value).type)
    del proto.graph.output[:]
    proto.graph.output.extend(kept.values())
