# SPDX-License-Identifier: Apache-2.0
"""Read an ONNX file that may be broken or hostile, and bring it to one form.

One form: weights in memory, functions inlined, no initialiser among the inputs,
constants as initialisers, every extent of every input fixed, nodes sorted and
named, nothing dead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from splitc.errors import BadModelError, UsageError, nearest
from splitc.graph import Tensor

OLDEST_OPSET = 7
_INLINE_BYTES = 1024

_DTYPES: dict[int, str] = {
    value: {"FLOAT": "float32", "DOUBLE": "float64"}.get(name, name.lower())
    .replace("float8e4m3fn", "float8_e4m3fn").replace("float8e5m2", "float8_e5m2")
    .replace("float8e8m0", "float8_e8m0fnu").replace("float4e2m1", "float4_e2m1fn")
    for name, value in TensorProto.DataType.items()
}  # fmt: skip


def dtype_name(elem_type: int) -> str:
    """numpy's name of an ONNX element type."""
    return _DTYPES.get(elem_type, "unknown")


def read_proto(path: Path, max_bytes: int) -> tuple[ModelProto, str]:
    """The model in a file, its external data checked and loaded, and the file's sha256.

    Raises:
        BadModelError: It is empty, truncated, no ONNX, over the byte budget, or
            names data outside its own folder.
    """
    size = path.stat().st_size
    if size == 0:
        raise BadModelError(f"{path.name} is empty")
    if size >= 2**31:
        hint = "save it with external data: onnx.save(model, path, save_as_external_data=True)"
        raise BadModelError(f"{path.name} is over 2 GiB, more than ONNX allows", hint=hint)
    data = path.read_bytes()
    try:
        proto = ModelProto.FromString(data)
    except DecodeError as error:
        raise BadModelError(
            f"{path.name} is no ONNX model", why="it does not parse", hint="is it complete?"
        ) from error
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise BadModelError(f"{path.name} is no ONNX model", why="it holds no graph")
    check_budget(proto, max_bytes)
    digest = hashlib.sha256(data)
    for tensor in _stored_tensors(proto):
        if tensor.data_location == TensorProto.EXTERNAL:
            digest.update(_load_external(tensor, path.parent, max_bytes))
    return proto, digest.hexdigest()


def _stored_tensors(proto: ModelProto) -> Iterator[TensorProto]:
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in subgraphs_of(attribute):
            yield from _graph_tensors(graph)


def subgraphs_of(attribute: AttributeProto) -> list[GraphProto]:
    """The graphs an attribute holds."""
    own = [attribute.g] if attribute.HasField("g") else []
    return [*own, *attribute.graphs]


def tensor_bytes(tensor: TensorProto) -> int:
    """Bytes that the declared shape and type take; strings by what is stored."""
    if any(d < 0 for d in tensor.dims):
        raise BadModelError(f"tensor '{tensor.name}' declares a negative extent")
    if tensor.data_type == TensorProto.STRING:
        return sum(len(s) for s in tensor.string_data)
    declared = Tensor(tensor.name, tuple(tensor.dims), dtype_name(tensor.data_type))
    if declared.nbytes is None:
        raise BadModelError(f"tensor '{tensor.name}' has an unknown element type")
    return declared.nbytes


def check_budget(proto: ModelProto, max_bytes: int) -> None:
    """Hold what the stored tensors declare against the budget, before anything is allocated.

    Raises:
        BadModelError: They take more.
    """
    total = 0
    for tensor in _stored_tensors(proto):
        total += tensor_bytes(tensor)
        if total > max_bytes:
            raise over_budget(f"the weights up to '{tensor.name}'", total, max_bytes)


def over_budget(what: str, nbytes: int, max_bytes: int) -> BadModelError:
    """The error for something that would take too much memory."""
    return BadModelError(
        f"{what} would take {nbytes:,} bytes",
        why=f"the limit is {max_bytes:,}",
        hint="raise it with --max-bytes if you trust the model",
    )


def _load_external(tensor: TensorProto, folder: Path, max_bytes: int) -> bytes:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    at = f"tensor '{tensor.name}'"
    if not location or "\\" in location or Path(location).is_absolute():
        raise BadModelError("bad external data path", at=at, why=f"'{location}'")
    root = folder.resolve()
    path = (root / location).resolve()
    if not path.is_relative_to(root):
        why = f"'{location}' leaves the model's folder"
        raise BadModelError("external data path escapes", at=at, why=why)
    if not path.is_file():
        raise BadModelError("external data is missing", at=at, why=f"no file '{location}'")
    declared = tensor_bytes(tensor)
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(declared)))
    except ValueError as error:
        raise BadModelError("bad external data entry", at=at, why=str(error)) from error
    if length != declared or offset < 0 or offset + length > path.stat().st_size:
        why = f"{declared:,} bytes declared; '{location}' has {path.stat().st_size:,}"
        raise BadModelError("external data does not fit its tensor", at=at, why=why)
    if length > max_bytes:
        raise over_budget(at, length, max_bytes)
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(length)
    tensor.raw_data = data
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]
    return data


def normalise(proto: ModelProto, inputs: Mapping[str, Sequence[int]]) -> ModelProto:
    """Bring a model to the one form described above; the given one may be reused.

    Raises:
        BadModelError: Unknown opset, a cycle, an undefined tensor, a string input,
            or a dynamic extent that `inputs` does not fix.
        UsageError: `inputs` names what is no input.
    """
    check_opset(proto)
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
    graph = proto.graph
    proto.ir_version = max(proto.ir_version, 8)
    if graph.sparse_initializer:
        raise BadModelError("sparse initialisers are not supported")
    stored = {t.name for t in graph.initializer}
    kept = [value for value in graph.input if value.name not in stored]
    del graph.input[:]
    graph.input.extend(kept)
    _constants_to_initializers(graph)
    for value in graph.input:
        _check_type(value)
        _fix_extents(value, inputs)
    for name in inputs:
        if name not in {v.name for v in graph.input}:
            hint = nearest(name, [v.name for v in graph.input])
            raise UsageError(f"the model has no input '{name}'", hint=hint)
    sort_nodes(graph)
    drop_dead(graph)
    name_nodes(graph)
    return proto


def check_opset(proto: ModelProto) -> None:
    """Refuse opsets this onnx release does not define."""
    newest = onnx.defs.onnx_opset_version()
    versions = [o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")]
    if not versions and any(node.domain in ("", "ai.onnx") for node in proto.graph.node):
        raise BadModelError("the model names no opset")
    for version in versions:
        if not OLDEST_OPSET <= version <= newest:
            raise BadModelError(
                f"opset {version} is not supported",
                why=f"splitc reads opset {OLDEST_OPSET} to {newest}",
                hint="onnx.version_converter.convert_version converts many models",
            )


def _constants_to_initializers(graph: GraphProto) -> None:
    keep: list[NodeProto] = []
    made: list[TensorProto] = []
    results = {value.name for value in graph.output}
    for node in graph.node:
        tensor = _constant_value(node) if node.output and node.output[0] not in results else None
        if tensor is None:
            keep.append(node)
        else:
            tensor.name = node.output[0]
            made.append(tensor)
    if made:
        del graph.node[:]
        graph.node.extend(keep)
        graph.initializer.extend(made)


def _constant_value(node: NodeProto) -> TensorProto | None:
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return None
    for attribute in node.attribute:
        if attribute.name == "value":
            tensor = TensorProto()
            tensor.CopyFrom(attribute.t)
            return tensor
        dtype = {"value_float": np.float32, "value_floats": np.float32,
                 "value_int": np.int64, "value_ints": np.int64}.get(attribute.name)  # fmt: skip
        if dtype is not None:
            value = onnx.helper.get_attribute_value(attribute)
            return onnx.numpy_helper.from_array(np.array(value, dtype=dtype))
    return None


def _check_type(value: ValueInfoProto) -> None:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise BadModelError(
            f"input '{value.name}' is no tensor", why=f"its type is {kind or 'missing'}"
        )
    if value.type.tensor_type.elem_type == TensorProto.STRING:
        why = "text has no fixed size and no target computes on it"
        raise BadModelError(f"input '{value.name}' is a string tensor", why=why)


def _fix_extents(value: ValueInfoProto, inputs: Mapping[str, Sequence[int]]) -> None:
    tensor_type = value.type.tensor_type
    dims = tensor_type.shape.dim
    wanted = inputs.get(value.name)
    declared = [d.dim_value if d.HasField("dim_value") else None for d in dims]
    if wanted is None:
        if tensor_type.HasField("shape") and all(d is not None and d >= 0 for d in declared):
            return
        shown = "x".join(d.dim_param or str(d.dim_value or "?") for d in dims) or "?"
        example = "x".join(str(d.dim_value or 1) for d in dims) or "1x3x224x224"
        raise BadModelError(
            f"input '{value.name}' has dynamic extents: {shown}",
            hint=f"fix them, for example --input {value.name}:{example}",
        )
    fits = not tensor_type.HasField("shape") or (
        len(wanted) == len(dims)
        and all(d is None or d <= 0 or d == w for d, w in zip(declared, wanted, strict=True))
    )
    if not fits or any(w < 0 for w in wanted):
        raise UsageError(
            f"input '{value.name}' cannot be {'x'.join(map(str, wanted))}",
            why=f"the model declares {'x'.join('?' if d is None else str(d) for d in declared)}",
        )
    del dims[:]
    for extent in wanted:
        tensor_type.shape.dim.add().dim_value = extent
    if not wanted:
        tensor_type.shape.SetInParent()


def reads(node: NodeProto) -> list[str]:
    """Tensors a node reads: its inputs, and what its subgraphs capture."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in subgraphs_of(attribute):
            names.extend(_captured(graph))
    return names


def _captured(graph: GraphProto) -> Iterator[str]:
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    for node in graph.node:
        yield from (name for name in reads(node) if name not in own)
        own.update(node.output)
    yield from (v.name for v in graph.output if v.name not in own)


def sort_nodes(graph: GraphProto) -> None:
    """Order the nodes so that each stands after what it reads; keeps an order that does.

    Raises:
        BadModelError: A cycle, a tensor nobody makes, or one made twice.
    """
    known = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    made: dict[str, NodeProto] = {}
    for node in graph.node:
        for name in node.output:
            if name and (name in made or name in known):
                raise BadModelError(f"tensor '{name}' is made twice", at=_where(node))
            if name:
                made[name] = node
    missing = {id(node): [n for n in reads(node) if n not in known] for node in graph.node}
    for node in graph.node:
        for name in missing[id(node)]:
            if name not in made:
                raise BadModelError(f"tensor '{name}' is read but never made", at=_where(node))
    for value in graph.output:
        if value.name not in made and value.name not in known:
            raise BadModelError(f"output '{value.name}' is never made")
    order: list[NodeProto] = []
    done: set[str] = set(known)
    waiting: list[NodeProto] = list(graph.node)
    while waiting:
        later: list[NodeProto] = []
        for node in waiting:
            if all(name in done for name in missing[id(node)]):
                order.append(node)
                done.update(node.output)
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise BadModelError("the nodes form a cycle", at=_where(later[0]))
        waiting = later
    if [id(n) for n in order] != [id(n) for n in graph.node]:
        copies = [NodeProto.FromString(node.SerializeToString()) for node in order]
        del graph.node[:]
        graph.node.extend(copies)


def _where(node: NodeProto) -> str:
    return f"node '{node.name or (node.output[0] if node.output else '')}' ({node.op_type})"


def drop_dead(graph: GraphProto) -> None:
    """Drop nodes and initialisers that no result depends on."""
    needed = {v.name for v in graph.output}
    live: list[bool] = []
    for node in reversed(graph.node):
        live.append(any(name in needed for name in node.output))
        if live[-1]:
            needed.update(reads(node))
    live.reverse()
    if not all(live):
        _keep(graph.node, live)
    stored = [t.name in needed for t in graph.initializer]
    if not all(stored):
        _keep(graph.initializer, stored)


def _keep(repeated: list[NodeProto] | list[TensorProto] | Iterable[object], flags: list[bool]) -> None:
    """Delete the unflagged items of a protobuf list in place, runs at a time."""
    items: list[object] = repeated  # type: ignore[assignment]
    stop = len(flags)
    while stop > 0:
        start = stop
        while start > 0 and not flags[start - 1]:
            start -= 1
        if start < stop:
            del items[start:stop]
        stop = start - 1 if start == stop else start


def name_nodes(graph: GraphProto) -> None:
    """Give every node a unique name; an empty one takes its first output's.

    Comma and surrounding space are replaced: `--cut` separates names by commas.
    """
    taken: set[str] = {node.name for node in graph.node if node.name}
    seen: set[str] = set()
    inputs = {v.name for v in graph.input}
    for node in graph.node:
        if node.name and node.name not in seen and node.name not in inputs:
            seen.add(node.name)
            continue
        base = node.name or next((o for o in node.output if o), node.op_type)
        name, k = base, 2
        while name in seen or name in inputs or (name in taken and name != node.name) or (
            name == node.name
        ):
            name, k = f"{base}.{k}", k + 1
        node.name = name
        seen.add(name)


def skeleton(proto: ModelProto) -> ModelProto:
    """The model with large initialisers declared as inputs: same shapes, few bytes."""
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


def infer(proto: ModelProto) -> dict[str, Tensor]:
    """Shape and type of every tensor that the nodes make or the graph takes in.

    Raises:
        BadModelError: The model is malformed, or its declared shapes contradict
            what its operators give.
    """
    bare = skeleton(proto)
    try:
        onnx.checker.check_model(bare)
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
    found: dict[str, Tensor] = {}
    for value in (*bare.graph.value_info, *bare.graph.output, *bare.graph.input):
        found[value.name] = tensor_of(value)
    for tensor in proto.graph.initializer:
        found[tensor.name] = Tensor(
            tensor.name, tuple(tensor.dims), dtype_name(tensor.data_type)
        )
    return found


def tensor_of(value: ValueInfoProto) -> Tensor:
    """A tensor as an ONNX value declares it."""
    kind = value.type.WhichOneof("value")
    if kind in ("sequence_type", "optional_type"):
        return Tensor(value.name, None, kind.removesuffix("_type"))
    if kind != "tensor_type":
        return Tensor(value.name, None, "unknown")
    declared = value.type.tensor_type
    dtype = dtype_name(declared.elem_type)
    if not declared.HasField("shape"):
        return Tensor(value.name, None, dtype)
    shape = tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None
        for d in declared.shape.dim
    )
    return Tensor(value.name, shape, dtype)


def check_weights(proto: ModelProto) -> None:
    """Refuse weights whose data is not what they declare, or that hold NaN.

    Raises:
        BadModelError: Names the first such tensor.
    """
    for tensor in proto.graph.initializer:
        try:
            values = onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError, RuntimeError) as error:
            raise BadModelError(
                f"tensor '{tensor.name}' lies about its size",
                why=f"its shape takes {tensor_bytes(tensor):,} bytes, its data does not fill it",
            ) from error
        # min() carries NaN along; comparing a whole tensor with itself is slower.
        if values.dtype.kind == "f" and values.size and np.isnan(values.min()):
            raise BadModelError(f"weight '{tensor.name}' holds NaN")
