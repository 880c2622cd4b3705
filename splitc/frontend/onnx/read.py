# SPDX-License-Identifier: Apache-2.0
"""Read the bytes of an ONNX model that may be broken or hostile.

Nothing is allocated before what the file declares has been held against the
byte budget, and no path in it is followed out of its folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto

from splitc.errors import BadModelError
from splitc.ir.graph import Tensor

_DTYPES: dict[int, str] = {
    value: {"FLOAT": "float32", "DOUBLE": "float64"}.get(name, name.lower())
    .replace("float8e4m3fn", "float8_e4m3fn").replace("float8e5m2", "float8_e5m2")
    .replace("float8e8m0", "float8_e8m0fnu").replace("float4e2m1", "float4_e2m1fn")
    for name, value in TensorProto.DataType.items()
}  # fmt: skip


def dtype_name(elem_type: int) -> str:
    """numpy's name of an ONNX element type."""
    return _DTYPES.get(elem_type, "unknown")


def element_type(dtype: str) -> int:
    """ONNX's number of an element type; 0 where it has none of numpy's name."""
    return next((k for k, name in _DTYPES.items() if name == dtype), 0)


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
    check_names(proto)
    check_budget(proto, max_bytes)
    digest = hashlib.sha256(data)
    for tensor in stored_tensors(proto):
        if tensor.data_location == TensorProto.EXTERNAL:
            digest.update(_load_external(tensor, path.parent, max_bytes))
    return proto, digest.hexdigest()


def external_files(path: Path) -> tuple[Path, ...]:
    """The files that a model keeps weights in, besides its own.

    Raises:
        BadModelError: It is no ONNX model, or names data outside its folder.
    """
    try:
        proto = ModelProto.FromString(path.read_bytes())
    except DecodeError as error:
        raise BadModelError(f"{path.name} is no ONNX model", why="it does not parse") from error
    locations = {
        entry.value: tensor.name
        for tensor in stored_tensors(proto)
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return tuple(
        _inside(path.parent, where, f"tensor '{name}'") for where, name in locations.items()
    )


def refuse_external(proto: ModelProto) -> None:
    """Refuse a model in memory whose weights are elsewhere: elsewhere is relative to nothing.

    Raises:
        BadModelError: Names the first such tensor.
    """
    for tensor in stored_tensors(proto):
        if tensor.data_location == TensorProto.EXTERNAL:
            hint = "load it from its file, or with onnx.load(path, load_external_data=True)"
            raise BadModelError(f"the data of tensor '{tensor.name}' is not loaded", hint=hint)


def digest_of(proto: ModelProto) -> str:
    """sha256 of a model in memory; piece by piece, for protobuf serialises 2 GiB at most."""
    digest = hashlib.sha256()
    graph = proto.graph
    pieces = (proto.opset_import, proto.functions, graph.initializer, graph.sparse_initializer,
              graph.node, graph.input, graph.output)  # fmt: skip
    for repeated in pieces:
        digest.update(f"{len(repeated)};".encode())
        for message in repeated:
            data = message.SerializeToString(deterministic=True)
            digest.update(f"{len(data)};".encode())
            digest.update(data)
    return digest.hexdigest()


def stored_tensors(proto: ModelProto) -> Iterator[TensorProto]:
    """Every tensor a model stores: initialisers and attributes, in subgraphs and functions too."""
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


def check_names(proto: ModelProto) -> None:
    """Refuse names that are no text; protobuf hands those out as bytes, or not at all.

    Raises:
        BadModelError: One is not UTF-8.
    """
    nodes = [node for function in proto.functions for node in function.node]
    texts: list[str | bytes] = [o.domain for o in proto.opset_import]
    for function in proto.functions:
        texts += [function.name, function.domain, *function.input, *function.output]
        texts += [*function.attribute, *(o.domain for o in function.opset_import)]
    _graph_texts(proto.graph, texts)
    for node in nodes:
        _node_texts(node, texts)
    if not all(isinstance(text, str) for text in texts):
        raise BadModelError("the model is malformed", why="a name in it is not UTF-8")


def _graph_texts(graph: GraphProto, texts: list[str | bytes]) -> None:
    texts.append(graph.name)
    texts += [tensor.name for tensor in graph.initializer]
    for value in (*graph.input, *graph.output, *graph.value_info):
        texts.append(value.name)
        texts += [dim.dim_param for dim in value.type.tensor_type.shape.dim]
    for node in graph.node:
        _node_texts(node, texts)


def _node_texts(node: NodeProto, texts: list[str | bytes]) -> None:
    texts += [node.name, node.op_type, node.domain, node.overload, *node.input, *node.output]
    for attribute in node.attribute:
        texts += [attribute.name, attribute.ref_attr_name, attribute.t.name]
        for graph in subgraphs_of(attribute):
            _graph_texts(graph, texts)


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
    for tensor in stored_tensors(proto):
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
    at = f"tensor '{tensor.name}'"
    location = entries.get("location", "")
    path = _inside(folder, location, at)
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


def _inside(folder: Path, location: str, at: str) -> Path:
    """The file a location names, links followed; refused outside the folder."""
    if not location or "\\" in location or Path(location).is_absolute():
        raise BadModelError("bad external data path", at=at, why=f"'{location}'")
    try:
        root = folder.resolve()
        path = (root / location).resolve()
        if not path.is_relative_to(root):
            why = f"'{location}' leaves the model's folder"
            raise BadModelError("external data path escapes", at=at, why=why)
        found = path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, a loop of links
        raise BadModelError("bad external data path", at=at, why=str(error)[:200]) from error
    if not found:
        raise BadModelError("external data is missing", at=at, why=f"no file '{location}'")
    return path


def check_weights(proto: ModelProto) -> None:
    """Refuse weights whose data is not what they declare, or that hold NaN.

    Raises:
        BadModelError: Names the first such tensor.
    """
    for tensor in stored_tensors(proto):
        if tensor.data_type == TensorProto.STRING:
            continue
        try:
            values = onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError, RuntimeError) as error:
            raise BadModelError(
                f"tensor '{tensor.name}' lies about its size",
                why=f"its shape takes {tensor_bytes(tensor):,} bytes, its data does not fill it",
            ) from error
        if "float" in values.dtype.name and values.dtype.kind != "f":
            values = values.astype(np.float32)  # bfloat16 and smaller have no min()
        # min() carries NaN along; comparing a whole tensor with itself is slower.
        if values.dtype.kind in "fc" and values.size and np.isnan(values.min()):
            raise BadModelError(f"weight '{tensor.name}' holds NaN")


PROTO_LIMIT = 2**31 - 2**24


def stored_bytes(proto: ModelProto) -> int:
    """Bytes of all initialisers; `ByteSize` would serialise them to count."""
    return sum(tensor_bytes(t) for t in proto.graph.initializer)
