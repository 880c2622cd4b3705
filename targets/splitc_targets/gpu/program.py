# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""A plan as a program for a device: its kernels as source, and the launches that run it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from splitc_targets.gpu import lowering
from splitc_targets.gpu.loops.threads import Kernel
from splitc_targets.graph.views import Buffer, View
from splitc_targets.plan.arena import Arena, dtype_bytes
from splitc_targets.plan.planner import Plan, Step
from splitc_targets.plan.weights import Weights
from splitc_targets.transforms.widen import HALF

Memory = Literal["input", "output", "weights", "arena"]


@dataclass(frozen=True)
class Place:
    """Where an argument of a launch begins.

    Args:
        memory: What it lies in.
        number: Which of the part's inputs or outputs; 0 for the others.
        offset: Bytes behind its start.
        bytes: How many the kernel may read or write from there on.
    """

    memory: Memory
    number: int
    offset: int
    bytes: int


@dataclass(frozen=True)
class Launch:
    """One start of a kernel.

    Args:
        symbol: Its name in the source.
        blocks, threads: How many, and of how many threads.
        places: Its arguments.
    """

    symbol: str
    blocks: tuple[int, int, int]
    threads: tuple[int, int, int]
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Program:
    """What a device runs.

    Args:
        source: Kernels in the device's language.
        launches: In the order that they follow each other.
        functions: The kernels by name, and the steps that call each.
    """

    source: str
    launches: tuple[Launch, ...]
    functions: dict[str, list[Step]]


def write(plan: Plan, arena: Arena, weights: Weights, target: Any) -> Program:
    """The program of a plan.

    Args:
        plan: What is called.
        arena: Where its tensors lie.
        weights: Where its constants lie.
        target: Of the device, with its host.
    """
    names: dict[Any, str] = {}
    functions: dict[str, list[Step]] = {}
    own: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for step in plan.steps:
        key = _key(step)
        if key not in names:
            name = names[key] = f"{step.rule}_{len(names)}"
            functions[name] = []
            built = step.build(name)
            if isinstance(built, Kernel):
                own[name] = built.function(_halves(step))
            else:
                others[name] = built
        functions[names[key]].append(step)
    source = lowering.write(own, others, target)
    places = _Places(plan, arena, weights)
    launches = [
        Launch(entry.symbol, entry.blocks, entry.threads,
               tuple(places.of(step.args[k]) for k in entry.order))
        for step in plan.steps
        for entry in source.entries[names[_key(step)]]
    ]  # fmt: skip
    return Program(source.text, tuple(launches), functions)


def _key(step: Step) -> Hashable:
    """Calls with equal keys share one function: of one kernel, and of the same types stored."""
    return step.key, _halves(step)


def _halves(step: Step) -> tuple[bool, ...]:
    """For each argument, whether memory has it in float16."""
    return tuple(view.buffer.dtype == HALF for view in step.args)


class _Places:
    def __init__(self, plan: Plan, arena: Arena, weights: Weights) -> None:
        self.at = {**weights.at, **arena.at}
        self.outside: dict[Buffer, tuple[Memory, int]] = {}
        self._note("input", plan.inputs)
        self._note("output", [view.buffer for view in plan.outputs])

    def _note(self, memory: Memory, buffers: Sequence[Buffer]) -> None:
        for number, buffer in enumerate(buffers):
            self.outside[buffer] = (memory, number)

    def of(self, view: View) -> Place:
        buffer = view.buffer
        offset, size = view.offset * dtype_bytes(buffer), view.span * dtype_bytes(buffer)
        if buffer in self.outside:
            return Place(*self.outside[buffer], offset, size)
        memory: Memory = "weights" if buffer.kind == "constant" else "arena"
        return Place(memory, 0, self.at[buffer] + offset, size)
