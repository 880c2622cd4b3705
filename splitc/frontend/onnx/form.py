# SPDX-License-Identifier: Apache-2.0
"""Bring an ONNX model to one form.

One form: functions inlined, no initialiser among the inputs, constants as
initialisers, every result made by a node, every extent of every input fixed,
nodes sorted and named, nothing dead.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import groupby
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from splitc.errors import BadModelError, UsageError, nearest
from splitc.frontend.onnx.older import of_today, opset_of
from splitc.frontend.onnx.read import subgraphs_of

OLDEST_OPSET = 7
RUN_OPSET = 26
"""The newest that onnxruntime 1.31 runs; onnx defines newer ones."""
_NAMED_BY_NONE = 21
"""For a model of other domains' operators alone: what stands for those is of this opset."""
_OLDEST_IR, _NEWEST_IR = 8, 13
"""Versions of the file format that are written: what later ones add, onnxruntime 1.31 refuses to
load, and no graph here has; onnx 1.23 writes 14 unless told otherwise."""
_MAX_INLINED = 1_000_000
_MAX_REPEATED = 2**28
"""Bytes that inlining may add to what functions store."""


def normalise(proto: ModelProto, inputs: Mapping[str, Sequence[int]]) -> ModelProto:
    """Bring a model to the one form described above; the given one may be reused.

    Raises:
        BadModelError: Unknown opset, a cycle, an undefined tensor, a string input,
            or a dynamic extent that `inputs` does not fix.
        UsageError: `inputs` names what is no input.
    """
    check_opset(proto)
    if not opset_of(proto):
        proto.opset_import.append(onnx.helper.make_opsetid("", _NAMED_BY_NONE))
    if 0 < opset_of(proto) < OLDEST_OPSET:
        proto = of_today(proto, OLDEST_OPSET)
    if proto.functions:
        proto = _inline(proto)
    graph = proto.graph
    if proto.ir_version <= onnx.IR_VERSION:  # A file of the future is refused as it is.
        proto.ir_version = min(max(proto.ir_version, _OLDEST_IR), _NEWEST_IR)
    if graph.sparse_initializer:
        raise BadModelError("sparse initialisers are not supported")
    stored = {t.name for t in graph.initializer}
    kept = [value for value in graph.input if value.name not in stored]
    del graph.input[:]
    graph.input.extend(kept)
    constants_to_initializers(graph)
    for value in graph.input:
        _check_type(value)
        _fix_extents(value, inputs)
    for name in inputs:
        if name not in {v.name for v in graph.input}:
            hint = nearest(name, [v.name for v in graph.input])
            raise UsageError(f"the model has no input '{name}'", hint=hint)
    for value in graph.output:
        _forget_placeholders(value)
    _make_stored_results(graph)
    _order_what_may_lie_in_any(graph)
    sort_nodes(graph)
    drop_dead(graph)
    name_nodes(graph)
    return proto


def _order_what_may_lie_in_any(graph: GraphProto) -> None:
    """Have every TopK give its elements in order: of those that need not, any order is right.

    onnxruntime leaves them as its heap has them, which nothing else could be held against.
    """
    for node in graph.node:
        if node.op_type == "TopK" and node.domain in ("", "ai.onnx"):
            kept = [a for a in node.attribute if a.name != "sorted"]
            del node.attribute[:]
            node.attribute.extend(kept)
        for attribute in node.attribute:
            for body in subgraphs_of(attribute):
                _order_what_may_lie_in_any(body)


def check_opset(proto: ModelProto) -> None:
    """Refuse opsets this onnx release does not define."""
    newest = onnx.defs.onnx_opset_version()
    versions = [o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")]
    if not versions and any(node.domain in ("", "ai.onnx") for node in proto.graph.node):
        raise BadModelError("the model names no opset")
    for version in versions:
        if not 1 <= version <= newest:
            raise BadModelError(
                f"opset {version} is not supported", why=f"splitc reads opset 1 to {newest}"
            )


def runnable(proto: ModelProto) -> ModelProto | None:
    """The model at an opset that onnxruntime runs; None where an operator came later."""
    newest = max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if newest <= RUN_OPSET:
        return proto
    for domain, op, _ in _calls(proto.graph.node):
        if domain in ("", "ai.onnx") and onnx.defs.get_schema(op, newest).since_version > RUN_OPSET:
            return None
    made = ModelProto()
    made.CopyFrom(proto)
    for entry in made.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = RUN_OPSET
    return made


def _inline(proto: ModelProto) -> ModelProto:
    """Inline the local functions; weights wait outside, for the inliner serialises the model."""
    _check_expansion(proto)
    stored = list(proto.graph.initializer)
    bare = ModelProto(ir_version=proto.ir_version, graph=_without_weights(proto.graph))
    bare.opset_import.extend(proto.opset_import)
    bare.functions.extend(proto.functions)
    inlined = onnx.inliner.inline_local_functions(bare)
    del inlined.graph.initializer[:]
    inlined.graph.initializer.extend(stored)
    return inlined


def _without_weights(graph: GraphProto) -> GraphProto:
    """The graph with initialisers in name only: the inliner must not reuse their names."""
    bare = GraphProto(name=graph.name)
    bare.node.extend(graph.node)
    bare.input.extend(graph.input)
    bare.output.extend(graph.output)
    bare.value_info.extend(graph.value_info)
    bare.sparse_initializer.extend(graph.sparse_initializer)
    for tensor in graph.initializer:
        bare.initializer.append(
            TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        )
    return bare


def _check_expansion(proto: ModelProto) -> None:
    """Refuse functions that call themselves, or each other so often that inlining explodes."""
    bodies = {(f.domain, f.name, f.overload): list(_calls(f.node)) for f in proto.functions}
    calls = {name: [c for c in body if c in bodies] for name, body in bodies.items()}
    try:
        callees_first = list(TopologicalSorter(calls).static_order())
    except CycleError as error:
        raise BadModelError("the model's functions call each other in a circle") from error
    sizes: dict[tuple[str, str, str], int] = {}
    for name in callees_first:
        sizes[name] = sum(sizes.get(call, 1) for call in bodies[name])
    total = sum(sizes.get(call, 1) for call in _calls(proto.graph.node))
    if total > _MAX_INLINED:
        why = f"inlining its functions would make {total:,} nodes"
        raise BadModelError("the model is too large", why=why)
    own = {(f.domain, f.name, f.overload): f.ByteSize() for f in proto.functions}
    stored = dict(own)
    for name in callees_first:
        stored[name] = own[name] + sum(stored[call] for call in calls[name])
    nbytes = sum(stored.get(call, 0) for call in _calls(proto.graph.node))
    if nbytes > _MAX_REPEATED + sum(own.values()):
        why = f"inlining its functions would make {nbytes:,} bytes"
        raise BadModelError("the model is too large", why=why)


def _calls(nodes: Iterable[NodeProto]) -> Iterator[tuple[str, str, str]]:
    """What each node computes: domain, operator, overload; those in subgraphs too."""
    for node in nodes:
        yield node.domain, node.op_type, node.overload
        for attribute in node.attribute:
            for graph in subgraphs_of(attribute):
                yield from _calls(graph.node)


def constants_to_initializers(graph: GraphProto) -> None:
    """Store what Constant nodes give, but for those that give a result."""
    keep: list[NodeProto] = []
    made: list[TensorProto] = []
    results = {"", *(value.name for value in graph.output)}
    for node in graph.node:
        plain = node.output and node.output[0] not in results
        tensor = constant_value(node) if plain else None
        if tensor is None:
            keep.append(node)
        else:
            tensor.name = node.output[0]
            made.append(tensor)
    if made:
        del graph.node[:]
        graph.node.extend(keep)
        graph.initializer.extend(made)


def constant_value(node: NodeProto) -> TensorProto | None:
    """What a Constant node holds; None where it is text or sparse, or the node is another."""
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
        example = "x".join(str(d.dim_value) if d.dim_value > 0 else "1" for d in dims)
        raise BadModelError(
            f"input '{value.name}' has dynamic extents: {shown}",
            hint=f"fix them, for example --input {value.name}:{example or '1x3x224x224'}",
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


def _forget_placeholders(value: ValueInfoProto) -> None:
    """Drop what a result declares without meaning it; the operators give its shape.

    Exporters have written an empty shape, and extents below 0, for "unknown".
    """
    if value.type.WhichOneof("value") != "tensor_type":
        return
    tensor_type = value.type.tensor_type
    if not tensor_type.shape.dim:
        tensor_type.ClearField("shape")
    for dim in tensor_type.shape.dim if tensor_type.HasField("shape") else ():
        if dim.HasField("dim_value") and dim.dim_value < 0:
            dim.ClearField("dim_value")


def _make_stored_results(graph: GraphProto) -> None:
    """Let a node make each result that is a stored constant: head or tail must."""
    results = {value.name for value in graph.output}
    taken = {t.name for t in graph.initializer} | {v.name for v in graph.input}
    taken.update(name for node in graph.node for name in node.output)
    for tensor in graph.initializer:
        if tensor.name in results:
            result, tensor.name = tensor.name, f"{tensor.name}.stored"
            while tensor.name in taken:
                tensor.name += "'"
            graph.node.append(NodeProto(op_type="Identity", input=[tensor.name], output=[result]))


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
    nodes = list(graph.node)
    stored = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    maker = _makers(nodes, stored)
    for value in graph.output:
        if value.name not in maker and value.name not in stored:
            raise BadModelError(f"output '{value.name}' is never made")
    readers: list[list[int]] = [[] for _ in nodes]
    waiting = [0] * len(nodes)
    for i, node in enumerate(nodes):
        sources = {maker[name] for name in _made_by_nodes(node, maker, stored)}
        waiting[i] = len(sources)
        for j in sources:
            readers[j].append(i)
    ready = [i for i, count in enumerate(waiting) if count == 0]
    order: list[int] = []
    while ready:
        order.append(heapq.heappop(ready))
        for i in readers[order[-1]]:
            waiting[i] -= 1
            if waiting[i] == 0:
                heapq.heappush(ready, i)
    if len(order) < len(nodes):
        stuck = next(node for node, count in zip(nodes, waiting, strict=True) if count)
        raise BadModelError("the nodes form a cycle", at=_where(stuck))
    if order != list(range(len(nodes))):
        copies = [NodeProto.FromString(nodes[i].SerializeToString()) for i in order]
        del graph.node[:]
        graph.node.extend(copies)


def _makers(nodes: Sequence[NodeProto], stored: set[str]) -> dict[str, int]:
    maker: dict[str, int] = {}
    for i, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in maker or name in stored:
                raise BadModelError(f"tensor '{name}' is made twice", at=_where(node))
            maker[name] = i
    return maker


def _made_by_nodes(node: NodeProto, maker: Mapping[str, int], stored: set[str]) -> Iterator[str]:
    for name in reads(node):
        if name in maker:
            yield name
        elif name not in stored:
            raise BadModelError(f"tensor '{name}' is read but never made", at=_where(node))


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
    _keep(graph.node, live)
    _keep(graph.initializer, [t.name in needed for t in graph.initializer])


def _keep(repeated: MutableSequence[Any], flags: Sequence[bool]) -> None:
    """Delete the unflagged items in place, a run at a time: weights are not copied."""
    runs = [list(run) for kept, run in groupby(range(len(flags)), flags.__getitem__) if not kept]
    for run in reversed(runs):
        del repeated[run[0] : run[-1] + 1]


def name_nodes(graph: GraphProto) -> None:
    """Give every node a unique name; an empty one takes its first output's.

    Commas become underscores and surrounding space goes: `--cut` separates names
    by commas.
    """
    taken = {v.name for v in graph.input}
    given = {_plain(node.name) for node in graph.node}
    count: dict[str, int] = {}
    for node in graph.node:
        own = _plain(node.name)
        base = own or next((_plain(o) for o in node.output if _plain(o)), node.op_type)
        name = base
        # A made-up name must not be one that a later node bears.
        while name in taken or (name != own and name in given):
            count[base] = count.get(base, 1) + 1
            name = f"{base}.{count[base]}"
        node.name = name
        taken.add(name)


def _plain(name: str) -> str:
    return name.strip().replace(",", "_")
