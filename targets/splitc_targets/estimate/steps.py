# SPDX-License-Identifier: Apache-2.0
"""What one planned kernel call takes, predicted from what it was planned as."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, cast

from splitc.cost.board import Board
from splitc.cost.stress import IDLE
from splitc_targets.estimate.loads import (
    Ending,
    Load,
    attention,
    batched,
    by_strassen,
    by_tiles,
    by_winograd,
    direct,
    passes,
    windows,
    windows_of_bytes,
)
from splitc_targets.estimate.operations import PASSES, cycles_each, of_expression
from splitc_targets.estimate.rates import Rates, rates_of
from splitc_targets.estimate.recurrent import recurrent_steps
from splitc_targets.graph.views import View
from splitc_targets.kernels.attention import products
from splitc_targets.kernels.product.geometry import PAIR
from splitc_targets.kernels.product.tile_plan import RULES
from splitc_targets.machine.machine import Machine
from splitc_targets.plan import arena
from splitc_targets.plan.planner import Step


def step_seconds(step: Step, rates: Rates, kept: float = 1.0) -> float:
    """Seconds of one call on a machine that does nothing else.

    Args:
        step: The call.
        rates: The machine's.
        kept: The share of all constants that its last cache keeps from run to run.
    """
    return rates.terms(load_of(step, rates.machine), kept).seconds(IDLE)


def all_seconds(steps: Iterable[Step], board: Board) -> list[float]:
    """Seconds of each call of a part."""
    calls, rates = list(steps), rates_of(board)
    constants = {
        id(view.buffer): view.buffer.size * arena.dtype_bytes(view.buffer)
        for step in calls
        for view in step.args
        if view.buffer.holds_weights
    }
    kept = rates.kept(sum(constants.values()))
    return [step_seconds(step, rates, kept) for step in calls]


def load_of(step: Step, machine: Machine) -> Load:
    """What a call asks for."""
    found = _RULES.get(step.rule)
    return found(step, machine) if found is not None else _over_elements(step, machine)


def _sizes(step: Step) -> tuple[int, int, int]:
    """Bytes of a call's constants, of the other tensors that it reads, and of its result."""
    *reads, result = [
        (view.buffer.holds_weights, _elements(view) * arena.dtype_bytes(view.buffer))
        for view in step.args
    ]
    constant = sum(size for holds, size in reads if holds)
    return constant, sum(size for holds, size in reads if not holds), result[1]


def _elements(view: View) -> int:
    """Elements that a view has: one where it is repeated, all between its ends at most."""
    return min(view.span, view.size_of_shape)


def _sized(load: Load, step: Step) -> Load:
    """A load with the bytes that the call has."""
    constant, read, written = _sizes(step)
    return replace(load, weight_bytes=constant, read_bytes=read, written_bytes=written)


def _spec(step: Step) -> Any:
    """The description that a call's kernel is written from."""
    return cast("tuple[Any, ...]", step.key)[1]


def _conv(step: Step, machine: Machine) -> Load:
    spec = _spec(step)
    return _sized(direct(spec, machine, of_expression(spec.expression)), step)


def _matmul(step: Step, machine: Machine) -> Load:
    product = _spec(step)
    return _sized(batched(product.conv, machine, of_expression(product.conv.expression)), step)


def _attention(step: Step, machine: Machine) -> Load:
    spec = _spec(step)
    parts = [replace(conv, batch=spec.pairs) for conv in products(spec, machine)]
    endings = [of_expression(each) for each in (spec.scores, spec.expression)]
    return _sized(attention(parts[0], parts[1], machine, endings), step)


def _winograd(step: Step, machine: Machine) -> Load:
    spec = _spec(step)
    load = by_winograd(spec, machine, int(step.rule[-1]), of_expression(spec.expression))
    return _beside_scratch(load, step)


def _strassen(step: Step, machine: Machine) -> Load:
    spec = _spec(step)
    return _beside_scratch(by_strassen(spec, machine, of_expression(spec.expression)), step)


def _beside_scratch(load: Load, step: Step) -> Load:
    """A load with the bytes that the call has."""
    constant, _, written = _sizes(step)
    read = step.args[0].size_of_shape * 4  # The workspace stays in the caches.
    return replace(load, weight_bytes=constant, read_bytes=read, written_bytes=written)


def _paired_winograd(step: Step, machine: Machine) -> Load:
    row, spec = machine.multiplying("bfloat16"), _spec(step)
    seen = machine if row is None else machine.using(row)
    load = by_winograd(spec, seen, int(step.rule[-1]), of_expression(spec.expression), PAIR)
    constant, _, written = _sizes(step)
    read = step.args[0].size_of_shape * 4 // PAIR
    return replace(load, weight_bytes=constant, read_bytes=read, written_bytes=written)


_WEIGHTS = {rule: weights for weights, rule in RULES.items()}


def _tiles(step: Step, machine: Machine) -> Load:
    spec, row = _spec(step), machine.tiling(_WEIGHTS[step.rule])
    if row is None:
        return direct(spec, machine)
    return _sized(by_tiles(spec, machine, row, of_expression(spec.expression)), step)


def _small(kind: str) -> Callable[[Step, Machine], Load]:
    def load(step: Step, machine: Machine) -> Load:
        row, spec = machine.multiplying(kind), _spec(step)
        seen = machine if row is None else machine.using(row)
        return _sized(direct(spec, seen, of_expression(spec.expression)), step)

    return load


def _recurrent(step: Step, machine: Machine) -> Load:
    spec = _spec(step)
    return recurrent_steps(spec.cell.kind, spec.steps, spec.batch, spec.hidden, machine)


def _windows(step: Step, machine: Machine) -> Load:
    spec = _spec(step)
    if not hasattr(spec, "kernel"):  # a whole map
        return _over_elements(step, machine)
    if step.rule == "depthwise_dot":
        load = windows_of_bytes(spec, machine, of_expression(spec.expression))
        if load is not None:
            return _sized(load, step)
    taps = step.rule != "pool"
    return _sized(windows(spec, machine, of_expression(spec.expression), taps=taps), step)


def _over_elements(step: Step, machine: Machine) -> Load:
    constant, read, written = _sizes(step)
    elements = max(map(_elements, step.args))
    expression = getattr(_spec(step), "expression", None) if step.rule == "map" else None
    done = Ending() if expression is None else of_expression(expression)
    each = PASSES.get(_OPERATOR.get(step.rule, "")) or cycles_each(done, machine)
    return passes(elements, constant + read, written, machine, cycles_each=each)


_OPERATOR = {"softmax": "softmax", "norm": "layernormalization", "lrn": "lrn"}
"""Rules of what goes over rows several times, by the operator that they plan."""

_RULES: dict[str, Callable[[Step, Machine], Load]] = {
    "conv": _conv, "gemm": _conv, "gemv": _conv, "matmul": _matmul,
    "winograd2": _winograd, "winograd4": _winograd, "strassen": _strassen,
    "dot": _small("int8"), "half": _small("float16"), "pairs": _small("bfloat16"),
    "pairwinograd2": _paired_winograd, "tiles": _tiles, "bytetiles": _tiles,
    "depthwise": _windows, "depthwise_dot": _windows, "pool": _windows, "recurrent": _recurrent,
    "attention": _attention,
}  # fmt: skip
