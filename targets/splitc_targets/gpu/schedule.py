# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportOptionalMemberAccess=false
"""Threads for loops of TVM's own: by dlight's rules, or a thread an element of each nest's result.

dlight is TVM's set of schedules that need no tuning. Its rules are tried in turn, those for
products and reductions before the one for everything; what the first makes that lowers and stays
within what every device gives a block is taken. Rules raise where they meet what they were not
written for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir import SBlock, SBlockRealize, Schedule, ScheduleError
from tvm.s_tir import dlight as dl

from splitc_targets.gpu import lowering
from splitc_targets.tvm.adapter import FAILURES

THREADS = 128
_SPATIAL = 0
_THREAD_BINDING = 4
_THREAD_INDEX = 1

RULES = (
    dl.gpu.Matmul(), dl.gpu.GEMV(), dl.gpu.Reduction(), dl.gpu.GeneralReduction(),
    dl.gpu.Fallback(),
)  # fmt: skip
"""dlight's, in the order in which they are tried."""


@dataclass(frozen=True)
class Bound:
    """A function whose loops are bound to threads.

    Args:
        function: Behind its own parameters it takes memory for what its nests hand on.
        between: Shape and element type of each of those.
        how: What bound them, in words.
    """

    function: Any
    between: tuple[tuple[tuple[int, ...], str], ...]
    how: str


def bound(function: Any, target: Any) -> Bound:
    """Bind a function's loops to a device's threads.

    What one of its loop nests makes for another would be the host's to allocate: the caller
    gives memory for it instead. Loops that cannot be bound run in one thread.
    """
    for rule in RULES:
        made = _by_rule(rule, function, target)
        if made is not None:
            return made
    try:
        return _given_memory(_spread(function), "a thread an element")
    except ScheduleError:
        return _given_memory(_alone(function), "one thread")


def _by_rule(rule: Any, function: Any, target: Any) -> Bound | None:
    """What one of dlight's rules makes of a function, if anything that a device can run."""
    with lowering.limited(target) as known:
        try:
            schedule = rule.apply(function, known, False)
        except FAILURES:
            return None
    if schedule is None or not _all_bound(schedule):
        return None
    made = _given_memory(schedule.mod["main"], f"dlight's {type(rule).__name__}")
    return made if lowering.fits(made.function, target) else None


def _all_bound(schedule: Any) -> bool:
    """Whether threads run every nest: a rule may leave one to the host."""
    root = schedule.get_sblock("root", "main")
    return all(
        any(schedule.get(loop).thread_binding is not None for loop in schedule.get_loops(block))
        for block in schedule.get_child_blocks(root)
    )


def _spread(function: Any) -> Any:
    schedule = Schedule(tvm.IRModule({"main": function}))
    root = schedule.get_sblock("root", "main")
    for block in schedule.get_child_blocks(root):
        loops = schedule.get_loops(block)
        kinds = _kinds(schedule, block)
        outer = [loop for loop in loops if kinds.get(schedule.get(loop).loop_var) == _SPATIAL]
        inner = [loop for loop in loops if loop not in outer]
        if not outer:
            outer = [schedule.add_unit_loop(loops[0] if loops else block)]
        else:
            schedule.reorder(*outer, *inner)
        whole = schedule.fuse(*outer)
        blocks, threads = schedule.split(whole, [None, THREADS])
        schedule.bind(blocks, "blockIdx.x")
        schedule.bind(threads, "threadIdx.x")
    return schedule.mod["main"]


def _kinds(schedule: Any, block: Any) -> dict[Any, int]:
    """The kind of iteration of each loop's variable that is one of the block's by itself."""
    body = schedule.get(block)
    realize = _realize(schedule.mod["main"].body, body)
    pairs = zip(body.iter_vars, realize.iter_values, strict=True)
    return {value: axis.iter_type for axis, value in pairs if isinstance(value, tirx.Var)}


def _realize(statement: Any, block: Any) -> Any:
    found: list[Any] = []

    def visit(realize: Any) -> None:
        if realize.block.same_as(block):
            found.append(realize)

    tvm_ffi.structural_walk(statement, (SBlockRealize, visit), order="pre")
    return found[0]


def _alone(function: Any) -> Any:
    """The function's loops in one thread."""
    realize = function.body
    block = realize.block
    var = tirx.Var("alone", "int32")
    axis = tirx.IterVar(None, var, _THREAD_INDEX, "threadIdx.x")
    body = tirx.For(
        var, tirx.IntImm("int32", 0), tirx.IntImm("int32", 1), tirx.ForKind(_THREAD_BINDING),
        block.body, thread_binding=axis,
    )  # fmt: skip
    return _with_body(function, body, block.alloc_buffers)


def _given_memory(function: Any, how: str) -> Bound:
    held = list(function.body.block.alloc_buffers)
    outer = [each for each in held if each.scope() == "global"]
    inner = [each for each in held if each.scope() != "global"]
    made = _with_body(function, function.body.block.body, inner, outer) if outer else function
    between = tuple((tuple(int(n) for n in b.shape), str(b.dtype)) for b in outer)
    return Bound(_numbered(made), between, how)


def _numbered(function: Any) -> Any:
    """The function with a name for each parameter: buffers of several nests may share one."""
    named = {
        param: tirx.decl_buffer(param.shape, param.dtype, name=f"x{k}")
        for k, param in enumerate(function.params)
    }
    body = tvm_ffi.structural_map(
        function.body, (tirx.Var, lambda var: named.get(var, var)), order="post"
    )
    return tirx.PrimFunc(list(named.values()), body, attrs=function.attrs)


def _with_body(function: Any, body: Any, held: Any, params: Any = ()) -> Any:
    """The function with another body in its outermost block, and more parameters."""
    realize = function.body
    block = realize.block
    made = SBlock(
        block.iter_vars, block.reads, block.writes, block.name_hint, body, block.init, held,
        block.match_buffers, block.annotations,
    )  # fmt: skip
    outermost = SBlockRealize(realize.iter_values, realize.predicate, made)
    return tirx.PrimFunc([*function.params, *params], outermost, attrs=function.attrs)
