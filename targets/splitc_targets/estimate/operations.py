# SPDX-License-Identifier: Apache-2.0
"""What elementwise operations cost, fused behind a kernel or in one of their own."""

from __future__ import annotations

from collections.abc import Iterable

from splitc_targets.estimate.loads import HEAVY_CYCLES, Ending
from splitc_targets.graph.expression import Expression, operations
from splitc_targets.machine.machine import Machine

HEAVY = frozenset((
    "sigmoid", "tanh", "exp", "erf", "log", "power", "sin", "cos", "softplus", "atanh",
    "sinh", "cosh", "asinh", "acosh", "tan", "asin", "acos", "atan", "remainder", "floor remainder",
    "three_quarters",
    # As networks' layers call them.
    "gelu", "silu", "swish", "mish", "elu", "selu", "celu", "pow", "softsign",
))  # fmt: skip
"""Exponentials, and what is made of them; every other operation is an instruction or two."""

PASS_CYCLES = 1.5
"""Of a vector that is loaded and stored, beyond what is done with it."""

LIGHT_CYCLES = 0.5
"""Of an operation on it."""


def ending(names: Iterable[str], beside_bytes: int = 0) -> Ending:
    """What operations of these names make of a kernel's results."""
    given = list(names)
    heavy = sum(name in HEAVY for name in given)
    return Ending(len(given) - heavy, heavy, beside_bytes)


def of_expression(expression: Expression, beside_bytes: int = 0) -> Ending:
    """The same of a fused expression."""
    return ending(operations(expression), beside_bytes)


def cycles_each(done: Ending, machine: Machine) -> float:
    """Cycles of a vector that is loaded, worked on and stored."""
    slower = 2.0 / machine.fma_per_cycle
    return slower * (PASS_CYCLES + LIGHT_CYCLES * done.light + HEAVY_CYCLES * done.heavy)


PASSES = {
    "softmax": 14.0, "logsoftmax": 14.0, "layernormalization": 6.0, "rmsnormalization": 5.0,
    "instancenormalization": 6.0, "groupnormalization": 6.0, "lrn": 15.0,
}  # fmt: skip
"""Cycles of a vector of what goes over its rows several times, by the layer's operator."""
