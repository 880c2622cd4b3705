# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""From a Relax function to the rules' graph."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from splitc_targets.graph.graph import Graph, Node, Value, joined
from splitc_targets.operators.own import own_operation
from splitc_targets.tvm.layer_names import layers_of, of_bindings


class NotReadable(Exception):
    """The module is of a form that rules do not read.

    Args:
        why: The reason.
        op: The operation that it is about, where it is about one.
    """

    def __init__(self, why: str, op: str = "") -> None:
        super().__init__(why)
        self.op = op


def read(module: Any) -> Graph:
    """The operations of a module's `main`.

    Raises:
        NotReadable: Shapes known only at run time, or calls of other functions.
    """
    function = module["main"]
    values: dict[Any, Any] = {}
    for var in function.params:
        values[var] = _value_of_type(var.ty)
    graph = Graph([values[var] for var in function.params], [], [])
    result = _body(function.body, values, graph, module, of_bindings(module))
    graph.layers = _known_layers(graph, layers_of(module))
    graph.single = not isinstance(result, list)
    graph.outputs = [result] if graph.single else result
    if not all(isinstance(value, Value) for value in graph.outputs):
        raise NotReadable("nested outputs")
    return graph


def _known_layers(graph: Graph, network: Mapping[str, str]) -> tuple[str, ...]:
    """The layers of a graph; what only computes on constants is none, where the network says."""
    for node in graph.nodes if network else ():
        node.layers = tuple(name for name in node.layers if name in network)
    return joined(network, *(node.layers for node in graph.nodes))


def _body(
    body: Any, values: dict[Any, Any], graph: Graph, module: Any, layers: Sequence[str] = ()
) -> Any:
    """Read a sequence of bindings, of layers where they are known; what it gives."""
    if not isinstance(body, relax.SeqExpr):
        return _argument(body, values)
    bindings = [binding for block in body.blocks for binding in block.bindings]
    for binding, layer in itertools.zip_longest(bindings, layers[: len(bindings)]):
        if not isinstance(binding, relax.VarBinding):
            op = getattr(getattr(binding.value, "op", None), "name", "")
            raise NotReadable("a shape known only at run time", op.removeprefix("relax."))
        before = len(graph.nodes)
        values[binding.var] = _expression(binding.value, binding.var, values, graph, module)
        for node in graph.nodes[before:] if layer else ():
            node.layers = (layer,)
    return _argument(body.body, values)


def _choice(expr: Any, var: Any, values: dict[Any, Any], graph: Graph, module: Any) -> Any:
    """Both branches, and a choice between what they give: neither does more than compute."""
    chosen = _argument(expr.cond, values)
    yes, no = (
        _body(branch, values, graph, module) for branch in (expr.true_branch, expr.false_branch)
    )
    if not isinstance(var.ty, relax.TupleType):
        return _selected(chosen, yes, no, var.ty, graph)
    return [
        _selected(chosen, one, other, kind, graph)
        for one, other, kind in zip(yes, no, var.ty.fields, strict=True)
    ]


def _selected(chosen: Any, one: Any, other: Any, kind: Any, graph: Graph) -> Value:
    kinds = (relax.TensorType(chosen.shape, "bool"), kind, kind)
    names = (relax.Var(f"x{k}", each) for k, each in enumerate(kinds))
    node = Node("where", [chosen, one, other], {}, call=relax.op.where(*names))
    node.outputs = [_value_of_type(kind, node)]
    graph.nodes.append(node)
    return node.output


def _value_of_type(kind: Any, producer: Node | None = None) -> Value:
    op = producer.op if producer is not None else ""
    if not isinstance(kind, relax.TensorType) or not isinstance(kind.shape, relax.ShapeExpr):
        raise NotReadable(f"a value of type {kind}", op)
    sizes = []
    for size in kind.shape.values:
        if not isinstance(size, tvm.tirx.IntImm):
            raise NotReadable("a shape known only at run time", op)
        sizes.append(int(size.value))
    return Value(tuple(sizes), str(kind.dtype), producer)


def _expression(expr: Any, var: Any, values: dict[Any, Any], graph: Graph, module: Any) -> Any:
    if isinstance(var.ty, relax.ShapeType):
        return _static(var.ty)
    if isinstance(expr, tvm.ir.TupleGetItem):
        return _argument(expr.tuple_value, values)[expr.index]
    if isinstance(expr, relax.If):
        return _choice(expr, var, values, graph, module)
    if not isinstance(expr, tvm.ir.Call):
        return _argument(expr, values)
    if not isinstance(expr.op, tvm.ir.Op):
        raise NotReadable("a call of a function")
    if expr.op.name == "relax.assert_op":
        return []  # A check of values, and nobody to tell: what fails it has no right result.
    if expr.op.name == "relax.shape_to_tensor":
        numbers = np.array(_argument(expr.args[0], values), np.int64)
        return Value(numbers.shape, "int64", None, numbers)
    if expr.op.name == "relax.call_tir":
        return _tensor_function(expr, var, values, graph, module)
    own = own_operation(expr)
    if own is not None:
        op, args, attrs = own
        return _outputs(Node(op, [_argument(arg, values) for arg in args], attrs), var, graph)
    node = Node(
        expr.op.name.removeprefix("relax."),
        [_argument(arg, values) for arg in expr.args],
        _attributes(expr.attrs),
        call=expr,
    )
    return _outputs(node, var, graph)


def _outputs(node: Node, var: Any, graph: Graph) -> Any:
    graph.nodes.append(node)
    if isinstance(var.ty, relax.TupleType):
        node.outputs = [_value_of_type(field, node) for field in var.ty.fields]
        return list(node.outputs)
    node.outputs = [_value_of_type(var.ty, node)]
    return node.output


def _static(kind: Any) -> tuple[int, ...]:
    """The numbers of a shape that is known."""
    sizes = kind.values or ()
    if not all(isinstance(size, tvm.tirx.IntImm) for size in sizes) or kind.values is None:
        raise NotReadable("a shape known only at run time")
    return tuple(int(size.value) for size in sizes)


def _tensor_function(expr: Any, var: Any, values: dict[Any, Any], graph: Graph, module: Any) -> Any:
    """A call of loops that the front end wrote; those of Clip are known by name."""
    name = expr.args[0].name_hint
    args = [_argument(arg, values) for arg in expr.args[1].fields]
    if len(expr.args) > 2 or not all(isinstance(arg, Value) for arg in args):
        raise NotReadable(f"a call of {name}")
    plain = name.rstrip("0123456789")
    bound = plain in ("maximum", "minimum") and len(args) == 2
    attrs = {"function": module[expr.args[0]]}
    return _outputs(Node(plain if bound else f"tir.{name}", args, attrs, call=expr), var, graph)


def _attributes(attrs: Any) -> dict[str, Any]:
    if attrs is None:
        return {}
    names = [field.name for field in type(attrs).__tvm_ffi_type_info__.fields]
    return {name: _plain(getattr(attrs, name)) for name in names}


def _argument(expr: Any, values: dict[Any, Any]) -> Any:
    """An argument as a value, a list of values, or plain Python."""
    if isinstance(expr, relax.Var):
        return values[expr]
    if isinstance(expr, tvm.ir.GenericConst):
        if expr not in values:
            data = _array(expr.value)
            values[expr] = Value(tuple(data.shape), str(data.dtype), None, data)
        return values[expr]
    if isinstance(expr, tvm.ir.Tuple):
        return [_argument(each, values) for each in expr.fields]
    if isinstance(expr, relax.ShapeExpr):
        return tuple(_plain(each) for each in expr.values)
    return _plain(expr)


def _array(tensor: Any) -> np.ndarray[Any, Any]:
    """A constant's numbers, where numpy has their type without a copy."""
    try:
        return np.from_dlpack(tensor)
    except (BufferError, RuntimeError, TypeError):
        return tensor.numpy()


def _plain(value: Any) -> Any:
    """A number, string or sequence of TVM's as Python's."""
    if isinstance(value, tvm.tirx.IntImm | tvm.tirx.FloatImm | tvm.ir.StringImm):
        return value.value
    if isinstance(value, relax.ShapeExpr):
        return tuple(_plain(each) for each in value.values)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Sequence):
        return tuple(_plain(each) for each in value)
    return value
