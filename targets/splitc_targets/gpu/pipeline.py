# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""The order in which a part becomes a program for a graphics processor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from splitc.build.backend import Kernel
from splitc.cost.board import Board
from splitc_targets.gpu import lowering, program
from splitc_targets.gpu.device import device_of
from splitc_targets.gpu.halves import refuse_halves, store_halves
from splitc_targets.gpu.kernels.attention import LARGEST
from splitc_targets.gpu.planner import RULES, GpuPlanner
from splitc_targets.gpu.program import Program
from splitc_targets.pipeline import described, prepared
from splitc_targets.plan import arena
from splitc_targets.plan.concat_homes import find_homes
from splitc_targets.plan.weights import Weights, lay_out
from splitc_targets.transforms.attention import join_attention
from splitc_targets.transforms.widen import HALF
from splitc_targets.tvm.fallback import fall_back

NAME = "splitc-gpu-1"
"""Recorded in the manifest: the schedule."""

Signature = tuple[tuple[int, ...], str]


@dataclass(frozen=True)
class GpuCode:
    """A module as a program for a board's device, not yet compiled for it."""

    program: Program
    weights: Weights
    inputs: tuple[Signature, ...]
    outputs: tuple[Signature, ...]
    kernels: tuple[Kernel, ...]
    activation_bytes: int
    fallbacks: tuple[str, ...]


def compile_module(lowered: Any, board: Board) -> GpuCode:
    """Choose a kernel for every function of a lowered module, and write them.

    Raises:
        NotReadable: It is of a form that the rules do not read.
        CannotRun: There are no loops for an operation.
    """
    target = lowering.target_of(board)
    graph = prepared(lowered, None)
    join_attention(graph, largest=LARGEST)
    planner = GpuPlanner(graph, device_of(board), target)
    find_homes(planner)
    plan = planner.plan(RULES, fall_back)
    if planner.device.precision == HALF:
        store_halves(plan)
    refuse_halves(plan)
    memory = arena.arrange(plan)
    weights = lay_out(plan)
    made = program.write(plan, memory, weights, target)
    return GpuCode(
        made, weights,
        tuple((buffer.shape, buffer.dtype) for buffer in plan.inputs),
        tuple((view.shape, view.buffer.dtype) for view in plan.outputs),
        tuple(described(name, steps) for name, steps in made.functions.items()),
        memory.bytes, tuple(plan.fallbacks),
    )  # fmt: skip
