# SPDX-License-Identifier: Apache-2.0
"""Shape and type of every tensor of an ONNX model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto

from splitc.errors import BadModelError
from splitc.frontend.onnx_read import dtype_name, tensor_bytes
from splitc.graph import Tensor

_INLINE_BYTES = 1024
_SHAPE_OPS = frozenset((
    "Add", "And", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Floor",
    "Gather", "Greater", "Identity", "Less", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or",
    "Range", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Slice", "Split",
    "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where",
))  # fmt: skip
"""What exporters compute shapes with."""


def infer(proto: ModelProto) -> dict[str, Tensor]:
    """Shape and type of every tensor that the nodes make or the graph takes in.

    Raises:
        BadModelError: The model is malformed, or its declared shapes contradict
            what its operators give.
    """
    bare = skeleton(proto)
    try:
        _check(bare)
        bare = onnx.shape_inference.infer_shapes(
            bare, check_type=True, strict_mode=True, data_prop=True
        )
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        ValueError,
        RuntimeError,
    ) as error:
        why = " ".join(str(error).split())
        raise BadModelError("the model is malformed", why=why[:300]) from error
    types = {
        value.name: value.type
        for value in (*bare.graph.value_info, *bare.graph.output, *bare.graph.input)
    }
    found = {name: tensor_of(name, declared) for name, declared in types.items()}
    for tensor in proto.graph.initializer:
        dtype = dtype_name(tensor.data_type)
        found[tensor.name] = Tensor(tensor.name, tuple(tensor.dims), dtype)
    if any(o and _unknown(found.get(o)) for node in bare.graph.node for o in node.output):
        found.update(_follow_values(bare, types))
    return found


def skeleton(proto: ModelProto) -> ModelProto:
    """The model with large initialisers declared as inputs: same shapes, few bytes.

    What the file declares of tensors in between is left out: nobody checks it.
    """
    graph = proto.graph
    bare = ModelProto(ir_version=proto.ir_version)
    bare.opset_import.extend(proto.opset_import)
    bare.graph.name = graph.name or "graph"
    bare.graph.node.extend(graph.node)
    bare.graph.input.extend(graph.input)
    bare.graph.output.extend(graph.output)
    for tensor in graph.initializer:
        if tensor_bytes(tensor) <= _INLINE_BYTES:
            bare.graph.initializer.append(tensor)
        else:
            bare.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return bare


def _check(bare: ModelProto) -> None:
    """onnx's checker, which insists that results declare a shape, without those that do not."""
    shapeless = [v for v in bare.graph.output if not v.type.tensor_type.HasField("shape")]
    if shapeless:
        given, bare = bare, ModelProto()
        bare.CopyFrom(given)
        kept = [v for v in given.graph.output if v not in shapeless]
        del bare.graph.output[:]
        bare.graph.output.extend(kept)
    onnx.checker.check_model(bare)  # pyright: ignore[reportUnknownMemberType]


def tensor_of(name: str, declared: TypeProto) -> Tensor:
    """A tensor as an ONNX type describes it."""
    kind = declared.WhichOneof("value")
    if kind in ("sequence_type", "optional_type"):
        return Tensor(name, None, kind.removesuffix("_type"))
    if kind != "tensor_type":
        return Tensor(name, None, "unknown")
    dtype = dtype_name(declared.tensor_type.elem_type)
    if not declared.tensor_type.HasField("shape"):
        return Tensor(name, None, dtype)
    shape = tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None
        for d in declared.tensor_type.shape.dim
    )
    return Tensor(name, shape, dtype)


def _unknown(tensor: Tensor | None) -> bool:
    return tensor is None or tensor.elements is None


def _follow_values(bare: ModelProto, types: Mapping[str, TypeProto]) -> dict[str, Tensor]:
    """Shapes that hang on arithmetic with shapes, node by node.

    onnx follows values through recent operators only: a Reshape by
    Concat(Gather(Shape(x)), -1) of opset 9 stays unknown, and all that comes
    after it. Here small integer tensors are computed as they come by.
    """
    known = dict(types)
    values: dict[str, TensorProto] = {}
    for tensor in bare.graph.initializer:
        values[tensor.name] = tensor
        known[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    opsets = list(bare.opset_import)
    for node in bare.graph.node:
        outputs = [name for name in node.output if name]
        if any(name not in known or _unknown(tensor_of(name, known[name])) for name in outputs):
            known.update(_infer_node(node, known, values, bare))
        for value in _values_of(node, known, values, opsets):
            values[value.name] = value
    return {name: tensor_of(name, declared) for name, declared in known.items()}


def _infer_node(
    node: NodeProto,
    known: Mapping[str, TypeProto],
    values: Mapping[str, TensorProto],
    bare: ModelProto,
) -> dict[str, TypeProto]:
    """What onnx says of one node's outputs; nothing where it cannot say."""
    version = next((o.version for o in bare.opset_import if o.domain == node.domain), 0)
    if not onnx.defs.has(node.op_type, max_inclusive_version=version, domain=node.domain) or any(
        name and name not in known for name in node.input
    ):
        return {}
    schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    try:
        return onnx.shape_inference.infer_node_outputs(
            schema,
            node,
            {name: known[name] for name in node.input if name},
            {name: values[name] for name in node.input if name in values},
            opset_imports=list(bare.opset_import),
            ir_version=bare.ir_version,
        )
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return {}


def _values_of(
    node: NodeProto,
    known: Mapping[str, TypeProto],
    values: Mapping[str, TensorProto],
    opsets: list[onnx.OperatorSetIdProto],
) -> Iterator[TensorProto]:
    """The values of a node's outputs where they are small integers, computed from the same."""
    from splitc.ort import Session

    if node.domain not in ("", "ai.onnx"):
        return
    if node.op_type in ("Shape", "Size"):
        entry = tensor_of(node.input[0], known[node.input[0]]) if node.input[0] in known else None
        if entry is not None and entry.elements is not None:
            yield _tensor(node.output[0], _measure(node, entry))
        return
    made = [tensor_of(name, known[name]) for name in node.output if name in known]
    if (
        node.op_type in _SHAPE_OPS
        and len(made) == len(node.output)
        and all(t.nbytes is not None and t.nbytes <= _INLINE_BYTES for t in made)
        and all(name in values for name in node.input if name)
    ):
        graph = onnx.helper.make_graph(
            [node], "values", [], [onnx.ValueInfoProto(name=t.name) for t in made],
            [values[name] for name in dict.fromkeys(node.input) if name],
        )  # fmt: skip
        single = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
        try:
            results = Session(single.SerializeToString()).run(node.output, {})
        except BadModelError:
            return
        for name, result in zip(node.output, results, strict=True):
            yield _tensor(name, result)


def _measure(node: NodeProto, entry: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    if node.op_type == "Size":
        return np.array(entry.elements, np.int64)
    bounds = {a.name: a.i for a in node.attribute}
    return np.array(entry.static_shape[bounds.get("start", 0) : bounds.get("end")], np.int64)


def _tensor(name: str, value: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> TensorProto:
    return onnx.numpy_helper.from_array(value, name)


def declare_results(proto: ModelProto, tensors: Mapping[str, Tensor]) -> None:
    """Let the results declare the shapes that were found; tools insist on one."""
    for value in proto.graph.output:
        tensor = tensors[value.name]
        if tensor.shape is not None and tensor.dtype != "unknown":
            value.CopyFrom(value_info(tensor))


def value_info(tensor: Tensor) -> ValueInfoProto:
    """What an ONNX graph declares of a tensor."""
    known = TensorProto.DataType.values()
    elem_type = next((k for k in known if dtype_name(k) == tensor.dtype), 0)
    return onnx.helper.make_tensor_value_info(tensor.name, elem_type, tensor.shape)
