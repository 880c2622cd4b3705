# SPDX-License-Identifier: Apache-2.0
"""Scheduling: from a lowered module to loops fit for the target, without any tuning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from splitc.arrays import Array
from splitc.build.backend import Kernel, KernelCall
from splitc.cost.board import Board
from splitc.runtime.tvm_abi import aligned
from splitc_targets.graph import check
from splitc_targets.graph.graph import Graph, joined
from splitc_targets.graph.origins import Origins
from splitc_targets.kernels import families
from splitc_targets.loops import tir_pipeline
from splitc_targets.machine.machine import Machine, machine_of
from splitc_targets.plan import arena
from splitc_targets.plan.choices import ANALYTIC, Choices, followed
from splitc_targets.plan.concat_homes import find_homes
from splitc_targets.plan.memory_limit import constant_bytes, smaller
from splitc_targets.plan.planner import Plan, Planner, Step
from splitc_targets.plan.weights import Weights, lay_out
from splitc_targets.rules.table import RULES
from splitc_targets.transforms.attention import join_attention
from splitc_targets.transforms.element_types import choose_types
from splitc_targets.transforms.fuse import fuse
from splitc_targets.transforms.requantise import requantise
from splitc_targets.transforms.simplify import simplify
from splitc_targets.transforms.widen import widen
from splitc_targets.transforms.zero_points import take_out_zero_points
from splitc_targets.tvm import adapter, writer
from splitc_targets.tvm.fallback import fall_back
from splitc_targets.tvm.reader import read

NAME = "splitc-analytic-1"
"""Recorded in the manifest: two parts are comparable when built by the same schedule."""

Signature = tuple[tuple[int, ...], str]


@dataclass(frozen=True)
class Code:
    """A module compiled for a board: what is exported, and what it is made of.

    Args:
        library: What TVM exports as a library.
        weights: The constants that it reads.
        packed_bytes: Memory for what it makes of constants when it is loaded.
        inputs: Shape and element type of each.
        outputs: The same of the results.
        kernels: Its functions.
        activation_bytes: Memory planned for tensors between kernels.
        live_bytes: Least that any plan would need: the largest set alive at one time.
        constant_bytes: Weights as the kernels read them, packed or transformed.
        fallbacks: Operations that no rule fitted.
        calls: What one run calls, in order.
    """

    library: Any
    weights: Weights
    packed_bytes: int
    inputs: tuple[Signature, ...]
    outputs: tuple[Signature, ...]
    kernels: tuple[Kernel, ...]
    activation_bytes: int
    live_bytes: int
    constant_bytes: int
    fallbacks: tuple[str, ...]
    calls: tuple[KernelCall, ...]

    def here(self) -> Callable[..., list[Array]]:
        """The code on this machine: a function from the inputs to the results."""
        main = adapter.function(self.library, writer.MAIN)
        weights, packed = self.weights.array(), _bytes(self.packed_bytes)
        if self.packed_bytes:
            adapter.function(self.library, writer.PREPARE)(weights, packed)
        room = _bytes(self.activation_bytes)

        def call(*arrays: Any) -> list[Array]:
            kinds = (*self.inputs, *self.outputs)
            given = [aligned(shape, np.dtype(dtype)) for shape, dtype in kinds]
            for held, array in zip(given, arrays, strict=False):
                held[...] = array
            main(*given, weights, packed, room)
            return given[len(self.inputs) :]

        return call


def _bytes(size: int) -> Array:
    """Memory of the caller's, as compiled functions take it: at least one byte."""
    return aligned((max(1, size),), np.dtype(np.uint8))


def prepared(lowered: Any, machine: Machine | None) -> Graph:
    """A lowered module as the graph that rules plan: rewritten, fused, its element types chosen.

    They stay the network's where there is no machine to choose for.

    Raises:
        NotReadable: It is of a form that the rules do not read.
    """
    graph = read(lowered)
    origins = Origins.of(graph)
    rewrites: list[tuple[str, Callable[[Graph], None]]] = [
        ("read", lambda _: None),
        ("widen", widen),
        ("simplify", simplify),
        ("fuse", fuse),
    ]
    if machine is not None:
        rewrites.insert(3, ("zero points", partial(take_out_zero_points, machine=machine)))
        rewrites.append(("requantise", requantise))
        rewrites.append(("element types", partial(choose_types, machine=machine)))
    for name, rewrite in rewrites:
        rewrite(graph)
        origins.settle(graph)
        if check.wanted():
            check.check(graph, name, families.faults)
    return graph


def plan_module(lowered: Any, board: Board, choices: Choices = ANALYTIC) -> Plan:
    """Decide which kernels compute a lowered module.

    Raises:
        NotReadable: It is of a form that the rules do not read.
    """
    machine = machine_of(board)
    graph = prepared(lowered, machine)
    join_attention(graph)
    planner = Planner(graph, machine, choices)
    find_homes(planner)
    return planner.plan(RULES, fall_back)


def described(name: str, steps: list[Step], choices: Choices = ANALYTIC) -> Kernel:
    """A kernel and what the steps that call it have in common."""
    step = steps[0]
    tuned = followed(choices, step.product, step.choice)
    sizes = [(v.buffer.holds_weights, v.span * arena.dtype_bytes(v.buffer)) for v in step.args]
    return Kernel(
        name, step.rule, step.op, step.shapes, step.flops, len(steps), tuned,
        layers=joined(*(each.layers for each in steps)),
        weight_bytes=sum(size for constant, size in sizes if constant),
        tensor_bytes=sum(size for constant, size in sizes if not constant),
    )  # fmt: skip


def compile_module(
    lowered: Any, board: Board, choices: Choices = ANALYTIC, limit_bytes: int | None = None,
    *, timed: bool = False,
) -> Code:  # fmt: skip
    """Choose loops for every function of a lowered module and compile it for a board.

    Args:
        lowered: The module.
        board: What it is for.
        choices: Who decides what can be computed in more than one way.
        limit_bytes: What constants and tensors may take together. Quicker algorithms that
            need more are left out; what cannot be kept even so is not.
        timed: Code with one more result that says when each call began, see
            `splitc_targets.tvm.writer.write`.

    Raises:
        NotReadable: It is of a form that the rules do not read.
        CannotRun: There are no loops for an operation.
        ToolchainError: TVM fails.
    """
    target = adapter.target_of(board)
    plan = plan_module(lowered, board, choices)
    memory = arena.arrange(plan)
    if limit_bytes is not None:
        excess = constant_bytes(plan) + memory.bytes - limit_bytes
        fewer = smaller(plan, choices, machine_of(board), excess)
        if fewer is not None:
            plan = plan_module(lowered, board, fewer)
            memory = arena.arrange(plan)
    weights = lay_out(plan)
    with adapter.building(target):
        written = writer.write(plan, memory, weights, timed=timed)
    library = adapter.build(written.module, target, tir_pipeline.NAME)
    kernels = tuple(described(name, steps, choices) for name, steps in written.functions.items())
    inputs = tuple((buffer.shape, buffer.dtype) for buffer in plan.inputs)
    outputs = tuple((view.shape, view.buffer.dtype) for view in plan.outputs)
    if timed:
        outputs = (*outputs, (writer.times_shape(plan), "int64"))
    return Code(library, weights, written.packed_bytes, inputs, outputs, kernels,
                memory.bytes, memory.live_bytes, constant_bytes(plan),
                tuple(plan.fallbacks), written.calls(plan))  # fmt: skip
