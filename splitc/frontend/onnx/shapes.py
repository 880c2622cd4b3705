# SPDX-License-Identifier: Apache-2.0
"""Shape and type of every tensor of an ONNX model.

Node by node, in order, so that nothing is allocated by what a file says: onnx's own value
propagation makes 80 bytes of each element of any one-dimensional tensor that Slice or
Gather reads. Where onnx is wrong or says nothing, `onnx_shape_rules` speaks; where that is
silent too, what the file declares of the tensor.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    OperatorSetIdProto,
    TensorProto,
    TypeProto,
    ValueInfoProto,
)

from splitc.errors import BadModelError, one_line
from splitc.frontend.onnx.from_results import know_operands
from splitc.frontend.onnx.function_bodies import BODIES
from splitc.frontend.onnx.read import (
    dtype_name,
    element_type,
    subgraphs_of,
    tensor_bytes,
    tensor_of,
)
from splitc.frontend.onnx.shape_rules import RULES, Asked, Rules, check
from splitc.frontend.onnx.values import INLINE_BYTES, values_of
from splitc.ir.graph import Tensor

_IR_VERSION = 10
_MOST_AXES = 64
"""More than any runtime has; onnx gives a tensor as many as the shape it reads is long."""
_VOID = "GroupNormalization"
_UNCHECKED = "unchecked"
_FAILURES = (
    onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, RuntimeError,
)  # fmt: skip


def infer(proto: ModelProto) -> dict[str, Tensor]:
    """Shape and type of every tensor that the nodes make or the graph takes in.

    Raises:
        BadModelError: The model is malformed, or its results' declared shapes contradict
            what its operators give.
    """
    bare = skeleton(proto)
    try:
        _check(bare)
    except _FAILURES as error:
        raise BadModelError("the model is malformed", why=one_line(error)) from error
    claims = {value.name: value.type for value in proto.graph.value_info}
    walk = Walk(tuple(bare.opset_import), {}, {}, claims)
    walk.follow(bare.graph, [None] * len(bare.graph.input))
    for value in bare.graph.output:
        found = walk.known.get(value.name)
        if found is not None and not _is_onnxs_mistake(value, found, bare, walk):
            found = _agreed(value, found)
        walk.known[value.name] = value.type if found is None else found
    know_operands(bare.graph.node, walk.known)
    tensors = {name: tensor_of(name, declared) for name, declared in walk.known.items()}
    for tensor in proto.graph.initializer:
        dtype = dtype_name(tensor.data_type)
        tensors[tensor.name] = Tensor(tensor.name, tuple(tensor.dims), dtype)
    return tensors


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
        if tensor_bytes(tensor) <= INLINE_BYTES:
            bare.graph.initializer.append(tensor)
        else:
            bare.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return bare


def _check(bare: ModelProto) -> None:
    """onnx's checker, but for two things that it insists on and others do not.

    Results may declare no shape; and GroupNormalization may stand at opset 18, where
    exporters wrote it and onnx has declared it void since.
    """
    kept = [v for v in bare.graph.output if v.type.tensor_type.HasField("shape")]
    void = any(node.op_type == _VOID for node in bare.graph.node)
    if void or len(kept) < len(bare.graph.output):
        given, bare = bare, ModelProto()
        bare.CopyFrom(given)
        del bare.graph.output[:]
        bare.graph.output.extend(kept)
    if void:
        bare.opset_import.append(onnx.helper.make_opsetid(_UNCHECKED, 1))
        for node in bare.graph.node:
            if node.op_type == _VOID:
                node.domain = _UNCHECKED
    onnx.checker.check_model(bare)  # pyright: ignore[reportUnknownMemberType]


@dataclass(frozen=True)
class Walk:
    """What is known of the tensors so far, in a graph or in a body that sees its outer one.

    Args:
        opsets: What the model imports.
        known: Types by tensor name.
        values: Small tensors whose values are known, by name.
        claims: What the file declares of tensors, by name.
        rules: What is known of operators better than onnx knows it.
    """

    opsets: tuple[OperatorSetIdProto, ...]
    known: MutableMapping[str, TypeProto]
    values: MutableMapping[str, TensorProto]
    claims: Mapping[str, TypeProto]
    rules: Rules = field(default_factory=lambda: RULES)

    def follow(self, graph: GraphProto, entries: Sequence[TypeProto | None]) -> None:
        """Know every tensor of a graph; where an entry is None its input is as declared."""
        self.enter(graph, entries)
        for node in graph.node:
            self.step(node)

    def enter(self, graph: GraphProto, entries: Sequence[TypeProto | None]) -> None:
        """Know what a graph takes in and stores."""
        for value, entry in zip(graph.input, entries, strict=False):
            self.known[value.name] = value.type if entry is None else entry
        for tensor in graph.initializer:
            self.known[tensor.name] = onnx.helper.make_tensor_type_proto(
                tensor.data_type, tensor.dims
            )
            if tensor_bytes(tensor) <= INLINE_BYTES:
                self.values[tensor.name] = tensor

    def step(self, node: NodeProto) -> None:
        """Know what a node makes of what is known."""
        made = self._made_by(node)
        for name in filter(None, node.output):
            one = made.get(name)
            # A claim of what hangs on data would be one example's.
            if name in self.claims and (one is None or _is_silent(one)):
                one = _claimed(self.claims[name], one)
            if one is not None:
                self.known[name] = one
        self.values.update(values_of(node, self.known, self.values, self.opsets))

    def inside(self, body: GraphProto, entries: Sequence[TypeProto | None]) -> list[TypeProto]:
        """The types of a body's results, given those of its inputs; sees the outer tensors."""
        inner = self._followed(body, entries)
        return [inner.known.get(v.name, v.type) for v in body.output]

    def _followed(self, body: GraphProto, entries: Sequence[TypeProto | None]) -> Walk:
        claims = {v.name: v.type for v in (*body.value_info, *body.output)}
        known, values = ChainMap({}, self.known), ChainMap({}, self.values)
        inner = Walk(self.opsets, known, values, claims, self.rules)
        inner.follow(body, entries)
        return inner

    def _by_branch(self, node: NodeProto, taken: GraphProto) -> dict[str, TypeProto]:
        """What an If gives that always takes one branch; its values are known then too."""
        inner = self._followed(taken, ())
        for value, result in zip(taken.output, node.output, strict=False):
            if value.name in inner.values:
                self.values[result] = inner.values[value.name]
        types = (inner.known.get(v.name, v.type) for v in taken.output)
        return dict(zip(node.output, types, strict=False))

    def _made_by(self, node: NodeProto) -> dict[str, TypeProto]:
        own = node.domain in ("", "ai.onnx")
        entries = [self.known.get(name) for name in node.input]
        taken = self._branch_taken(node) if own and node.op_type == "If" else None
        if taken is not None:
            return self._by_branch(node, taken)
        if own and node.op_type in BODIES and not self._is_batched(node):
            made = BODIES[node.op_type](node, entries, self.inside)
            return {name: one for name, one in zip(node.output, made, strict=False) if one}
        rule = self.rules.get(node.op_type) if own else None
        try:
            if own:
                check(node)
            made = self._by_onnx(node)
            if rule is not None:
                found = [made.get(name) for name in node.output]
                told = rule(Asked(node, entries, found, self.values))
                made |= {name: one for name, one in zip(node.output, told, strict=False) if one}
        except _FAILURES as error:
            raise _malformed(node, error) from error
        return made

    def _branch_taken(self, node: NodeProto) -> GraphProto | None:
        """The branch that an If takes, where its condition is known."""
        condition = self.values.get(node.input[0]) if node.input else None
        if condition is None:
            return None
        wanted = "then_branch" if onnx.numpy_helper.to_array(condition).all() else "else_branch"
        return next((a.g for a in node.attribute if a.name == wanted), None)

    def _is_batched(self, node: NodeProto) -> bool:
        """Whether it is the Scan of opset 8, whose tensors have a batch besides."""
        return node.op_type == "Scan" and self._version("") == 8

    def _version(self, domain: str) -> int:
        same = ("", "ai.onnx") if domain in ("", "ai.onnx") else (domain,)
        return next((o.version for o in self.opsets if o.domain in same), 0)

    def _by_onnx(self, node: NodeProto) -> dict[str, TypeProto]:
        """What onnx says of one node's outputs; nothing where it cannot say."""
        domain = node.domain if node.domain != "ai.onnx" else ""
        version = self._version(domain)
        names = [name for name in node.input if name]
        if (
            not onnx.defs.has(node.op_type, max_inclusive_version=version, domain=domain)
            or any(name not in self.known for name in names)
            or any(subgraphs_of(a) for a in node.attribute)
        ):
            return {}
        if node.op_type == "Expand":
            _check_axes(node, self.known[node.input[1]])
        schema = onnx.defs.get_schema(node.op_type, version, domain)
        if schema.deprecated:
            return {}
        return onnx.shape_inference.infer_node_outputs(
            schema,
            node,
            {name: self.known[name] for name in names},
            {name: as_read(node, self.values[name]) for name in names if name in self.values},
            opset_imports=list(self.opsets),
            ir_version=_IR_VERSION,
        )


def as_read(node: NodeProto, value: TensorProto) -> TensorProto:
    """A known input as onnx's inference takes it: Range's as scalars, where onnxruntime, and
    onnx's own AffineGrid, have vectors of one element too."""
    if node.op_type != "Range" or list(value.dims) != [1]:
        return value
    scalar = TensorProto()
    scalar.CopyFrom(value)
    del scalar.dims[:]
    return scalar


def _malformed(node: NodeProto, error: Exception) -> BadModelError:
    at = f"node '{node.name}' ({node.op_type})"
    return BadModelError("the model is malformed", at=at, why=one_line(error))


def _check_axes(node: NodeProto, shape: TypeProto) -> None:
    """Refuse a shape that is read from a tensor of so many elements."""
    dims = shape.tensor_type.shape.dim
    if len(dims) == 1 and dims[0].dim_value > _MOST_AXES:
        raise BadModelError(
            f"tensor '{node.output[0]}' would have {dims[0].dim_value:,} axes",
            at=f"node '{node.name}' ({node.op_type})",
            why=f"the limit is {_MOST_AXES}",
        )


def _is_silent(found: TypeProto | None) -> bool:
    """Whether nothing is said of a tensor's shape."""
    if found is None:
        return True
    return found.HasField("tensor_type") and not found.tensor_type.HasField("shape")


def _claimed(claim: TypeProto, found: TypeProto | None) -> TypeProto | None:
    """What the file declares, where that is a tensor of the type that is known of it."""
    same = found is None or found.tensor_type.elem_type in (0, claim.tensor_type.elem_type)
    return claim if same and claim.HasField("tensor_type") else found


def _is_onnxs_mistake(
    value: ValueInfoProto, found: TypeProto, bare: ModelProto, walk: Walk
) -> bool:
    """Whether a result declares what onnx's inference gives of its operators, and is wrong.

    Exporters write what onnx infers; onnxruntime warns of it and computes the right one.
    """
    declared = tensor_of(value.name, value.type).shape
    if declared is None or declared == tensor_of(value.name, found).shape:
        return False
    if not any(node.op_type in walk.rules for node in bare.graph.node):
        return False
    naive = Walk(walk.opsets, {}, {}, walk.claims, {})
    try:
        naive.follow(bare.graph, [None] * len(bare.graph.input))
    except BadModelError:
        return False
    theirs = naive.known.get(value.name)
    return theirs is not None and tensor_of(value.name, theirs) == tensor_of(value.name, value.type)


def _agreed(value: ValueInfoProto, found: TypeProto) -> TypeProto:
    """A result as its operator gives it; what is open there is as the graph declares it.

    Raises:
        BadModelError: The two contradict each other.
    """
    given, declared = tensor_of(value.name, found), tensor_of(value.name, value.type)
    if value.type.WhichOneof("value") != found.WhichOneof("value"):
        same = not value.type.WhichOneof("value") or found.WhichOneof("value") is None
        extents = given.shape
    else:
        same = "unknown" in (given.dtype, declared.dtype) or given.dtype == declared.dtype
        extents = _merged(given.shape, declared.shape)
        same = same and (extents is not None or None in (given.shape, declared.shape))
    if not same:
        raise BadModelError(
            "the model is malformed",
            at=f"result '{value.name}'",
            why=f"it declares {_words(declared)}, its operators give {_words(given)}",
        )
    if extents is None or extents == given.shape:
        return found
    elem_type = found.tensor_type.elem_type or value.type.tensor_type.elem_type
    return onnx.helper.make_tensor_type_proto(elem_type, extents)


def _merged(
    given: tuple[int | None, ...] | None, declared: tuple[int | None, ...] | None
) -> tuple[int | None, ...] | None:
    """Both together; None where they contradict each other, or nothing is known."""
    if given is None or declared is None:
        return given or declared
    pairs = list(zip(given, declared, strict=False))
    if len(given) != len(declared) or any(None not in p and p[0] != p[1] for p in pairs):
        return None
    return tuple(b if a is None else a for a, b in pairs)


def _words(tensor: Tensor) -> str:
    if tensor.shape is None:
        return tensor.dtype
    return f"{tensor.dtype} {'x'.join(str(n or '?') for n in tensor.shape) or 'scalar'}"


def declare_results(proto: ModelProto, tensors: Mapping[str, Tensor]) -> None:
    """Let the results declare the shapes that were found; tools insist on one."""
    for value in proto.graph.output:
        tensor = tensors[value.name]
        if tensor.shape is not None and tensor.dtype != "unknown":
            value.CopyFrom(value_info(tensor))


def value_info(tensor: Tensor) -> ValueInfoProto:
    """What an ONNX graph declares of a tensor."""
    return onnx.helper.make_tensor_value_info(tensor.name, element_type(tensor.dtype), tensor.shape)
