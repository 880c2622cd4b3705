# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""From a plan to a module of TVM's tensor IR: kernels, and functions that call them in turn.

`main(inputs…, outputs…, weights, packed, arena)` and, where weights are repacked once after
loading, `prepare(weights, packed)`. Timed code has one more output, the last: when each call
began. Memory is the caller's: addresses in it are compiled into the calls, so a call allocates
nothing, and calls with arenas of their own may run at one time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import tirx

from splitc.build.backend import KernelCall
from splitc_targets.graph.views import Buffer, View
from splitc_targets.loops.emit import stored
from splitc_targets.loops.tir_pipeline import ENTRY, WRITTEN
from splitc_targets.plan.arena import Arena, bytes_of, dtype_bytes
from splitc_targets.plan.planner import Plan, Step
from splitc_targets.plan.weights import Weights

MAIN, PREPARE = "main", "prepare"

_CLOCK, _MONOTONIC, _TIMESPEC_BYTES = "clock_gettime", 1, 16
"""Of the C library, which any process has that loads a part; Linux's number, two 64-bit words."""


@dataclass
class Written:
    """A module ready to be built, and each kernel's name with the steps that call it.

    Args:
        module: Kernels and callers.
        functions: The kernels.
        packed_bytes: Size of the memory that `prepare` fills.
    """

    module: Any
    functions: dict[str, list[Step]]
    packed_bytes: int

    def calls(self, plan: Plan) -> tuple[KernelCall, ...]:
        """The calls of a run, in order."""
        named = {id(step): name for name, steps in self.functions.items() for step in steps}
        return tuple(KernelCall(named[id(step)], step.layers) for step in plan.steps)


def write(plan: Plan, arena: Arena, weights: Weights, *, timed: bool = False) -> Written:
    """The plan as a module of tensor functions.

    Args:
        plan: What is called.
        arena: Where its tensors lie.
        weights: Where its constants lie.
        timed: `main` has one more output, int64 [steps + 1, 2]: the seconds and nanoseconds of
            a monotonic clock before the first step and behind each.
    """
    return _Writer({MAIN: (plan, arena)}, weights, timed).module()


def write_all(parts: Mapping[str, tuple[Plan, Arena]], weights: Weights) -> Written:
    """Several plans as one module, with a function like `main` for each under its own name.

    A kernel that several call is there once. So are constants, if the plans have the same
    buffers, and what is made of them at load, if they have the same preparations.
    """
    return _Writer(parts, weights).module()


class _Writer:
    def __init__(
        self, parts: Mapping[str, tuple[Plan, Arena]], weights: Weights, timed: bool = False
    ) -> None:
        self.parts, self.timed = parts, timed
        self.preparations = list(
            dict.fromkeys(step for plan, _ in parts.values() for step in plan.preparations)
        )
        self.kernels: dict[Any, str] = {}
        self.made: dict[Any, Any] = {}
        self.functions: dict[str, list[Step]] = {}
        packed, self.packed_bytes = _packed(self.preparations)
        self.at = {**weights.at, **packed}
        self.weights = _memory("weights", weights.bytes)
        self.room = _memory("packed", self.packed_bytes)
        self.arena: Any = None
        self.outside: dict[Buffer, Any] = {}
        self.times: list[Any] = []

    def module(self) -> Written:
        for step in self.preparations:
            self._kernel(step)
        for name, (plan, arena) in self.parts.items():
            self._main(name, plan, arena)
        if self.preparations:
            self._caller(PREPARE, [self.weights, self.room], self.preparations)
        return Written(tvm.IRModule(self.made), self.functions, self.packed_bytes)

    def _main(self, entry: str, plan: Plan, arena: Arena) -> None:
        self.at |= arena.at
        self.arena = _memory("arena", arena.bytes)
        for step in plan.steps:
            self._kernel(step)
        given = [*plan.inputs, *(view.buffer for view in plan.outputs)]
        names = [f"input_{k}" for k in range(len(plan.inputs))]
        names += [f"output_{k}" for k in range(len(plan.outputs))]
        for name, buffer in zip(names, given, strict=True):
            self.outside[buffer] = tirx.decl_buffer(buffer.shape, buffer.dtype, name=name)
        self.times = [tirx.decl_buffer(times_shape(plan), "int64", name="times")] * self.timed
        outside = [*(self.outside[b] for b in given), *self.times]
        self._caller(entry, [*outside, self.weights, self.room, self.arena], plan.steps)

    def _kernel(self, step: Step) -> None:
        if step.key not in self.kernels:
            name = f"{step.rule}_{len(self.kernels)}"
            self.kernels[step.key] = name
            self.functions[name] = []
            self.made[tvm.ir.GlobalVar(name)] = step.build(name)
        self.functions[self.kernels[step.key]].append(step)

    def _caller(self, name: str, params: list[Any], steps: Sequence[Step]) -> None:
        calls = [self._call(step) for step in steps]
        if self.times and name != PREPARE:
            times = [self._time(number) for number in range(len(calls) + 1)]
            calls = [times[0], *(s for pair in zip(calls, times[1:], strict=True) for s in pair)]
        body = tirx.SeqStmt(calls) if len(calls) > 1 else [*calls, tirx.Evaluate(0)][0]
        made = tirx.PrimFunc(params, body)
        attributes = {"global_symbol": name, WRITTEN: True, ENTRY: True}
        self.made[tvm.ir.GlobalVar(name)] = made.with_attr(attributes)

    def _call(self, step: Step) -> Any:
        tensors = [self._tensor(view, step.shaped) for view in step.args]
        name = tvm.ir.StringImm(self.kernels[step.key])
        # By its C symbol, without the resource handle that TVM's own rewriting of calls within a
        # module appends: the callee counts it as an argument too many.
        operator = tvm.ir.Op.get("tirx.tvm_call_cpacked")
        return tirx.Evaluate(tvm.ir.Call(operator, [name, *tensors], ret_ty="int32"))

    def _time(self, number: int) -> Any:
        """Write the time into a row."""
        offset = _number(number * _TIMESPEC_BYTES)
        row = tirx.handle_add_byte_offset(self.times[0].data, offset)
        clock = tirx.const(_MONOTONIC, "int32")
        return tirx.Evaluate(tirx.call_extern("int32", _CLOCK, clock, row))

    def _tensor(self, view: View, shaped: bool) -> Any:
        """A view as a kernel takes it: flat, or in its shape and from its memory's start on."""
        buffer = view.buffer
        memory, start = self._place(buffer)
        start += view.offset * dtype_bytes(buffer)
        shape = tuple(view.shape) if shaped else (view.span,)
        data, elements = memory.data, start // dtype_bytes(buffer)
        if shaped and start:
            data, elements = tirx.handle_add_byte_offset(data, _number(start)), 0
        extents = tirx.tvm_stack_make_shape(*map(_number, shape))
        kind = tirx.const(0, buffer.dtype if shaped else stored(buffer.dtype))
        return tirx.tvm_stack_make_array(
            data, extents, tirx.const(0, "int32"), len(shape), kind, _number(elements)
        )

    def _place(self, buffer: Buffer) -> tuple[Any, int]:
        """The argument of the caller that holds a buffer, and the byte that it begins at."""
        if buffer in self.outside:
            return self.outside[buffer], 0
        memory = {"constant": self.weights, "packed": self.room}.get(buffer.kind, self.arena)
        return memory, self.at[buffer]


def times_shape(plan: Plan) -> tuple[int, int]:
    """The shape of what timed code says of its steps."""
    return len(plan.steps) + 1, 2


def _packed(preparations: Sequence[Step]) -> tuple[dict[Buffer, int], int]:
    """Where what is made at load lies, and the size of the whole."""
    at: dict[Buffer, int] = {}
    end = 0
    for step in preparations:
        for view in step.args:
            if view.buffer.kind == "packed" and view.buffer not in at:
                at[view.buffer] = end
                end += bytes_of(view.buffer)
    return at, end


def _memory(name: str, size: int) -> Any:
    return tirx.decl_buffer((max(1, size),), "uint8", name=name)


def _number(value: int) -> Any:
    return tirx.IntImm("int64", value)
