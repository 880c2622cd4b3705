# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
"""Operations that no rule writes: TVM's own loops, correct and slow."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from splitc_targets.graph.graph import Node, Value
from splitc_targets.graph.views import View, packed
from splitc_targets.plan.planner import Planner
from splitc_targets.tvm import adapter

SCANS = ("cumsum", "cumprod")
"""Operations whose loops TVM gives for a target only."""


def fall_back(planner: Planner, node: Node) -> bool:
    """Plan a node with the loops that TVM's legalisation gives.

    Raises:
        CannotRun: TVM gives no loops for it, or shapes known only at run time.
    """
    if node.call is None:
        raise adapter.CannotRun([node.op])
    if "function" in node.attrs:
        return _as_written(planner, node)
    values = list(dict.fromkeys(v for v in _core(node) if v.data is None))
    params = {
        v: relax.Var(f"x{i}", relax.TensorType(v.shape, v.dtype)) for i, v in enumerate(values)
    }
    try:
        with adapter.BUILDING:
            module = _legalised(node, params)
    except adapter.FAILURES as error:
        raise adapter.CannotRun([node.op]) from error
    places: dict[Any, View] = {}
    for var, value in zip(module["main"].params, values, strict=True):
        places[var] = _own(planner, planner.dense(value))
    last = _plan_calls(planner, node, module, places)
    outputs = last if isinstance(last, list) else [last]
    for output, view in zip(node.outputs, outputs, strict=True):
        planner.set(output, _typed(planner, view, output.dtype))
    planner.fallbacks.append(node.op)
    _finish(planner, node)
    return True


def _as_written(planner: Planner, node: Node) -> bool:
    """Loops that the front end wrote itself."""
    function = node.attrs["function"]
    types = [str(param.dtype) for param in function.params]
    sources = [
        _own(planner, _typed(planner, planner.dense(value), dtype))
        for value, dtype in zip(node.inputs, types, strict=False)
    ]
    targets = [
        _own(planner, planner.fresh(value.shape, dtype, packed(value.shape)))
        for value, dtype in zip(node.outputs, types[len(sources) :], strict=True)
    ]
    _call(planner, node, function, [*sources, *targets])
    for output, view in zip(node.outputs, targets, strict=True):
        planner.set(output, _typed(planner, view, output.dtype))
    planner.fallbacks.append(node.op)
    return True


def _typed(planner: Planner, view: View, dtype: str) -> View:
    """The view, or its values as another type: loops of the front end's know only theirs."""
    if view.buffer.dtype == dtype:
        return view
    target = planner.fresh(view.shape, dtype, packed(view.shape))
    planner.copy(view, target, "cast")
    return target


def _call(planner: Planner, node: Node, function: Any, args: list[View]) -> None:
    planner.step(
        ("tvm", function.script()), lambda name: function.with_attr("global_symbol", name), args,
        "fallback", node.op.removeprefix("nn."), _words(node),
        types=[str(param.dtype) for param in function.params],
    )  # fmt: skip
    planner.steps[-1].shaped = True


def _core(node: Node) -> list[Value]:
    """The operation's own inputs, without what was fused behind it."""
    if "expression" not in node.attrs:
        return node.inputs
    return Node(node.op, node.args[:-1], {}).inputs


def _finish(planner: Planner, node: Node) -> None:
    """What was fused behind the operation, as a map of its own."""
    if "expression" not in node.attrs:
        return
    views = [planner.place(node.output), *(planner.place(value) for value in node.args[-1])]
    target = planner.fresh(node.output.shape, node.output.dtype, packed(node.output.shape))
    planner.map(views, target, node.attrs["expression"])
    planner.set(node.output, target)


def _legalised(node: Node, params: dict[Value, Any]) -> Any:
    """A module whose main function is this one call, as calls of tensor functions."""
    builder = relax.BlockBuilder()

    def replaced(expr: Any, arg: Any) -> Any:
        """TVM's argument with the graph's value in it."""
        if isinstance(arg, list):
            return relax.Tuple([replaced(expr, each) for each in arg])
        if isinstance(arg, Value):
            return params[arg] if arg.data is None else relax.const(arg.data, arg.dtype)
        return relax.ShapeExpr(arg) if isinstance(expr, relax.Var) else expr

    with builder.function("main", list(params.values())):
        with builder.dataflow():
            args = list(map(replaced, node.call.args, node.args))
            call = relax.Call(node.call.op, args, node.call.attrs, node.call.ty_args)
            out = builder.emit_output(builder.emit(call))
        builder.emit_func_output(out)
    module = relax.transform.LegalizeOps()(builder.get())
    if node.op not in SCANS:
        return module
    with tvm.target.Target("llvm"):
        return relax.backend.DispatchSortScan()(module)


def _plan_calls(planner: Planner, node: Node, module: Any, places: dict[Any, Any]) -> Any:
    body = module["main"].body
    for block in body.blocks:
        for binding in block.bindings:
            places[binding.var] = _plan_call(planner, node, module, binding, places)
    return places[body.body]


def _plan_call(
    planner: Planner, node: Node, module: Any, binding: Any, places: dict[Any, Any]
) -> Any:
    call = binding.value
    if isinstance(call, relax.Var):
        return places[call]
    if isinstance(call, tvm.ir.TupleGetItem):
        return places[call.tuple_value][call.index]
    if not isinstance(call, tvm.ir.Call) or call.op != tvm.ir.Op.get("relax.call_tir"):
        raise adapter.CannotRun([node.op])
    function = module[call.args[0]]
    sources = [_argument(planner, arg, places) for arg in call.args[1].fields]
    kinds = (
        binding.var.ty.fields if isinstance(binding.var.ty, relax.TupleType) else [binding.var.ty]
    )
    targets = []
    for kind in kinds:
        shape = tuple(int(size) for size in kind.shape.values)
        view = planner.fresh(shape, str(kind.dtype), packed(shape))
        targets.append(_own(planner, view))
    _call(planner, node, function, [*sources, *targets])
    return targets if isinstance(binding.var.ty, relax.TupleType) else targets[0]


def _argument(planner: Planner, arg: Any, places: dict[Any, Any]) -> View:
    if isinstance(arg, tvm.ir.GenericConst):
        return planner.constant(arg.value.numpy())
    return places[arg]


def _own(planner: Planner, view: View) -> View:
    """The view in memory of its own: TVM's functions want tensors that start where memory does."""
    buffer = view.buffer
    if buffer.kind == "input" and buffer.shape == view.shape:
        return view
    whole = view.offset == 0 and buffer.size == view.size_of_shape
    if whole and buffer.kind in ("arena", "constant"):
        return view
    own = planner.fresh(view.shape, buffer.dtype, packed(view.shape))
    planner.copy(view, own, "layout")
    return own


def _words(node: Node) -> str:
    shapes = ["x".join(map(str, v.shape)) for v in _core(node)]
    return f"{' * '.join(shapes)} -> {'x'.join(map(str, node.outputs[0].shape))}"
