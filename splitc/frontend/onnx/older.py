# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""Models of older opsets, brought to later ones by onnx's own version converter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
import onnx.checker
import onnx.shape_inference
import onnx.version_converter
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from splitc.arrays import Array
from splitc.errors import BadModelError, one_line

_READ_ELEMENTS = 1024
"""More than any stored tensor has whose values decide how an operator is converted."""

_SPREAD_OPSET = 7
"""The first at which operands are spread over the last axes of others, and nothing else."""

_KEPT = frozenset(("And", "Equal", "GRU", "Greater", "LSTM", "Less", "Or", "RNN", "Xor"))
"""Operators that only lost attributes at that opset, and that onnx's converter refuses."""
_LOST = frozenset(("broadcast", "output_sequence"))
"""Those attributes: what they say is so without them, where operands and results are as given."""
_APART = "splitc.kept"
"""A domain whose operators onnx's converter leaves as they are."""

_SAYS_PLACES_OPSET = 11
"""The first at which Resize says how places of result and operand correspond."""


def opset_of(proto: ModelProto) -> int:
    """The version of ONNX's own operators that a model names; 0 where it names none."""
    return next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)


def converted(proto: ModelProto, opset: int) -> ModelProto:
    """The model at a later opset; the given one stays as it is.

    Its weights wait outside, as inputs: the converter copies what it is given several times over.

    Raises:
        RuntimeError: The converter knows no way for an operator.
        ValueError: Likewise.
    """
    bare = ModelProto(ir_version=proto.ir_version)
    bare.opset_import.extend(proto.opset_import)
    graph = proto.graph
    bare.graph.CopyFrom(GraphProto(name=graph.name, node=graph.node, input=graph.input,
                                   output=graph.output, value_info=graph.value_info))  # fmt: skip
    weights = [t for t in graph.initializer if math.prod(t.dims) > _READ_ELEMENTS]
    waiting = {tensor.name for tensor in weights}
    bare.graph.initializer.extend(t for t in graph.initializer if t.name not in waiting)
    declared = {value.name for value in graph.input}
    bare.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims)
        for t in weights
        if t.name not in declared
    )
    if opset_of(proto) < _SPREAD_OPSET:
        weights = _spread(bare, weights)
        if opset == _SPREAD_OPSET:
            _set_apart(bare)
    made = onnx.version_converter.convert_version(bare, opset)
    _take_back(made)
    kept = [value for value in made.graph.input if value.name not in waiting]
    del made.graph.input[:]
    made.graph.input.extend(kept)
    made.graph.initializer.extend(weights)
    if opset_of(proto) < _SAYS_PLACES_OPSET <= opset:
        _resize_as_it_was(made.graph)
    return made


def of_today(proto: ModelProto, oldest: int) -> ModelProto:
    """A model of an opset before the oldest that is read, at that.

    Raises:
        BadModelError: It does not, or the model is none.
    """
    version = opset_of(proto)
    try:
        # The converter takes its word for what the checker asks.
        onnx.checker.check_model(proto)
        return converted(proto, oldest)
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        raise BadModelError(
            f"opset {version} is not supported here",
            why=f"onnx's converter to opset {oldest} refuses the model: {one_line(error)}",
            hint="export it again with a newer opset",
        ) from error


def _spread(bare: ModelProto, weights: Sequence[TensorProto]) -> list[TensorProto]:
    """Operands that lie along an axis of others, with the axes behind it that later opsets ask for.

    Before opset 7 PRelu has a slope a channel, and arithmetic an attribute `axis`: where the second
    operand's first axis lies. onnx's converter leaves slopes as they are, and refuses such axes.

    Args:
        bare: The model without large weights; small ones are changed in it.
        weights: The large ones.

    Returns:
        The large ones, changed.

    Raises:
        ValueError: They are computed, or nobody knows how many axes the other operand has.
    """
    users = [(node, axis) for node in bare.graph.node if (axis := _axis_of(node)) is not None]
    if not users:
        return list(weights)
    known = onnx.shape_inference.infer_shapes(bare).graph
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*known.input, *known.value_info, *known.output)
        if value.type.tensor_type.HasField("shape")
    }
    large = [TensorProto.FromString(each.SerializeToString()) for each in weights]
    stored = {tensor.name: tensor for tensor in (*bare.graph.initializer, *large)}
    declared = {value.name: value for value in bare.graph.input}
    spread: dict[str, int] = {}
    for node, axis in users:
        x, name = node.input[:2]
        if name not in stored or x not in ranks:
            raise ValueError(f"the second operand of {node.op_type} is computed")
        tensor = stored[name]
        behind = ranks[x] - axis % ranks[x] - len(tensor.dims)
        if spread.setdefault(name, behind) != behind:
            raise ValueError(f"the second operand of {node.op_type} lies along several axes")
        kept = [a for a in node.attribute if a.name != "axis"]
        del node.attribute[:]
        node.attribute.extend(kept)
        if math.prod(tensor.dims) == 1 or behind <= 0:
            continue
        spread[name] = 0
        tensor.dims.extend([1] * behind)
        if name in declared:
            shape = list(tensor.dims)
            declared[name].CopyFrom(helper.make_tensor_value_info(name, tensor.data_type, shape))
    return large


def _set_apart(bare: ModelProto) -> None:
    """Put what is the same at opset 7 where the converter does not look."""
    for node in bare.graph.node:
        if node.op_type in _KEPT and node.domain in ("", "ai.onnx"):
            node.domain = _APART
            kept = [a for a in node.attribute if a.name not in _LOST]
            del node.attribute[:]
            node.attribute.extend(kept)
    if any(node.domain == _APART for node in bare.graph.node):
        bare.opset_import.append(helper.make_opsetid(_APART, 1))


def _take_back(made: ModelProto) -> None:
    for node in made.graph.node:
        if node.domain == _APART:
            node.domain = ""
    kept = [each for each in made.opset_import if each.domain != _APART]
    del made.opset_import[:]
    made.opset_import.extend(kept)


def _axis_of(node: NodeProto) -> int | None:
    """Where the second operand's first axis lies in the first; None where nothing says so."""
    if node.op_type == "PRelu":
        return 1
    given = {a.name: a.i for a in node.attribute}
    return given.get("axis") if given.get("broadcast") else None


def _resize_as_it_was(graph: GraphProto) -> None:
    """Resize with the correspondence of older opsets, which the converter leaves out.

    A result's place lies at its own over the scale. The nearest operand is the one before it along
    axes that become longer, the one behind it along those that become shorter: one way a node, so
    what does both is done by two.
    """
    stored = {tensor.name: tensor for tensor in graph.initializer}
    nodes = list[NodeProto]()
    for node in graph.node:
        if node.op_type != "Resize":
            nodes.append(node)
            continue
        given = stored.get(node.input[2])
        scales = np.ones(0, np.float32) if given is None else numpy_helper.to_array(given)
        mode = next((a.s.decode() for a in node.attribute if a.name == "mode"), "nearest")
        if mode != "nearest" or not (scales < 1).any():
            nodes.append(_places(node, mode, "floor"))
        elif not (scales > 1).any():
            nodes.append(_places(node, mode, "ceil"))
        else:
            nodes += _shorter_then_longer(graph, node, scales)
    del graph.node[:]
    graph.node.extend(nodes)


def _shorter_then_longer(graph: GraphProto, node: NodeProto, scales: Array) -> list[NodeProto]:
    names = [f"{node.output[0]}.{word}" for word in ("shorter", "longer")]
    for name, some in zip(names, (np.minimum(scales, 1), np.maximum(scales, 1)), strict=True):
        graph.initializer.append(numpy_helper.from_array(some.astype(np.float32), name))
    first, second = NodeProto(), NodeProto()
    for made in (first, second):
        made.CopyFrom(node)
    first.output[0] = f"{node.output[0]}.shortened"
    first.input[2], second.input[2] = names
    second.input[0] = first.output[0]
    return [_places(first, "nearest", "ceil"), _places(second, "nearest", "floor")]


def _places(node: NodeProto, mode: str, nearest: str) -> NodeProto:
    del node.attribute[:]
    given = {"coordinate_transformation_mode": "asymmetric", "mode": mode, "nearest_mode": nearest}
    node.attribute.extend(helper.make_attribute(name, value) for name, value in given.items())
    return node
