# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""From a plan to a Relax module: memory allocated once, then one call after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from splitc_targets.graph.views import Buffer, View
from splitc_targets.plan.arena import Arena, bytes_of
from splitc_targets.plan.planner import Plan, Step


@dataclass
class Written:
    """A module ready to be built, and each function's name with the steps that call it."""

    module: Any
    functions: dict[str, list[Step]]


def write(plan: Plan, arena: Arena) -> Written:
    """The plan as a Relax module of one function and its kernels."""
    return _Writer(plan, arena).module()


def finishing_passes() -> Any:
    """What a written module still needs before TVM generates code."""
    return tvm.transform.Sequential(
        [
            relax.transform.LowerRuntimeBuiltin(),
            relax.transform.ComputePrimValue(),
            relax.transform.VMShapeLower(),
            relax.transform.AttachGlobalSymbol(),
        ]
    )


class _Writer:
    def __init__(self, plan: Plan, arena: Arena) -> None:
        self.plan, self.arena = plan, arena
        self.builder = relax.BlockBuilder()
        self.functions: dict[str, list[Step]] = {}
        self.names: dict[Any, Any] = {}
        self.storages: dict[Buffer, Any] = {}
        self.params: dict[Buffer, Any] = {}
        self.vars: dict[Any, Any] = {}
        self.storage: Any = None

    def module(self) -> Written:
        for step in self.plan.steps:
            self._function(step)
        params = []
        for number, buffer in enumerate(self.plan.inputs):
            var = relax.Var(f"input_{number}", relax.TensorType(buffer.shape, buffer.dtype))
            self.params[buffer] = var
            params.append(var)
        builder = self.builder
        with builder.function("main", params):
            if self.arena.bytes:
                self.storage = self._storage(self.arena.bytes)
            for step in self.plan.steps:
                args = [self._tensor(view, step.shaped) for view in step.args]
                builder.emit(relax.Call(self.names[step.key], args))
            outputs = [self._tensor(view, True) for view in self.plan.outputs]
            builder.emit_func_output(outputs[0] if self.plan.single else relax.Tuple(outputs))
        return Written(builder.get(), self.functions)

    def _function(self, step: Step) -> None:
        if step.key not in self.names:
            name = f"{step.rule}_{len(self.names)}"
            made = step.build(name)
            variable = self.builder.add_func(made, name)
            self.names[step.key] = variable
            self.functions[variable.name_hint] = []
        self.functions[self.names[step.key].name_hint].append(step)

    def _storage(self, size: int) -> Any:
        call = relax.op.memory.alloc_storage(relax.ShapeExpr([size]), 0, "global", "uint8")
        return self.builder.emit(call)

    def _tensor(self, view: View, shaped: bool) -> Any:
        """A variable for a view: flat, or in its shape where `shaped`."""
        buffer = view.buffer
        shape = tuple(view.shape) if shaped else (view.span,)
        key = (buffer, view.offset, shape)
        if key not in self.vars:
            self.vars[key] = self._new_tensor(view, shape)
        return self.vars[key]

    def _new_tensor(self, view: View, shape: tuple[int, ...]) -> Any:
        buffer = view.buffer
        if buffer.kind == "input":
            return self._reshaped(self.params[buffer], buffer, shape)
        if buffer.kind == "constant":
            data = np.asarray(buffer.data).reshape(-1)[
                view.offset : view.offset + int(np.prod(shape))
            ]
            return relax.const(data.reshape(shape), buffer.dtype)
        if buffer.kind == "arena":
            storage, start = self.storage, self.arena.at[buffer]
        else:
            if buffer not in self.storages:
                self.storages[buffer] = self._storage(max(1, bytes_of(buffer)))
            storage, start = self.storages[buffer], 0
        start += view.offset * np.dtype(buffer.dtype).itemsize
        call = relax.op.memory.alloc_tensor(storage, start, relax.ShapeExpr(shape), buffer.dtype)
        return self.builder.emit(call)

    def _reshaped(self, var: Any, buffer: Buffer, shape: tuple[int, ...]) -> Any:
        if shape == buffer.shape:
            return var
        kind = relax.TensorType(shape, buffer.dtype)
        call = relax.Call(
            relax.ExternFunc("vm.builtin.reshape"), [var, relax.ShapeExpr(shape)], ty_args=[kind]
        )
        return self.builder.emit(call)
