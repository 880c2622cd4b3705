# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""How gates become a state, for processors' vectors and threads' numbers alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from splitc_targets.kernels.recurrent.geometry import Activation, Cell
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Code, Value

Function = Callable[..., Value]
"""(code, lanes, x, …) -> value."""


@dataclass(frozen=True)
class Maths:
    """Functions of a vector, as a kind of processor has them.

    Args:
        functions: By name: exp, sigmoid, softplus, tanh.
        keep: Has a value computed once, however often it is read.
        larger, smaller: Of a value that is kept and a number; not-a-number stays so.
    """

    functions: dict[str, Function]
    keep: Callable[[Code, Value, int], Value]
    larger: Callable[[Value, Value], Value]
    smaller: Callable[[Value, Value], Value]


@dataclass(frozen=True)
class Gates:
    """Vectors of gates on their way to a state.

    Args:
        code: Gets the statements.
        lanes: Of every vector.
        cell: What is computed.
        maths: How.
    """

    code: Code
    lanes: int
    cell: Cell
    maths: Maths

    def number(self, value: float) -> Value:
        """A constant in every lane."""
        return emit.number(value, self.lanes)

    def keep(self, value: Value) -> Value:
        """The value, computed once."""
        return self.maths.keep(self.code, value, self.lanes)

    def active(self, which: int, x: Value) -> Value:
        """An activation of a number, clipped before; the cell's own is not."""
        clip = self.cell.clip
        if clip is not None and which < 2:
            x = self._within(x, -clip, clip)
        return self.keep(self._function(self.cell.activations[which], self.keep(x)))

    def _within(self, x: Value, low: float, high: float) -> Value:
        """x between bounds; not-a-number stays so."""
        above = self.keep(self.maths.larger(self.keep(x), self.number(low)))
        return self.maths.smaller(above, self.number(high))

    def _function(self, of: Activation, x: Value) -> Value:
        name, a, b = of.name, self.number(of.alpha), self.number(of.beta)
        zero, one = self.number(0.0), self.number(1.0)
        functions, select = self.maths.functions, emit.tirx.Select
        if name in ("sigmoid", "tanh", "softplus"):
            return functions[name](self.code, self.lanes, x)
        if name == "scaledtanh":
            inner = self.keep(x * b)
            return a * self.keep(functions["tanh"](self.code, self.lanes, inner))
        if name == "elu":
            below = self.keep(functions["exp"](self.code, self.lanes, x))
            return select(emit.tirx.LT(x, zero), a * (below - one), x)
        return {
            "relu": lambda: self.maths.larger(x, zero),
            "affine": lambda: a * x + b,
            "leakyrelu": lambda: select(emit.tirx.LT(x, zero), a * x, x),
            "thresholdedrelu": lambda: select(emit.tirx.LE(x, a), zero, x),
            "hardsigmoid": lambda: self._within(a * x + b, 0.0, 1.0),
            "softsign": lambda: x / (one + emit.tirx.abs(x)),
        }[name]()

    def lstm(
        self, gates: Callable[[int], Value], c: Value, peephole: Callable[[int], Value] | None
    ) -> tuple[Value, Value]:
        """The next state and cell of an LSTM; gates are input, output, forget, cell."""

        def seen(gate: int, cell: Value) -> Value:
            return gates(gate) if peephole is None else gates(gate) + peephole(gate) * cell

        taken = self.active(0, seen(0, c))
        kept = self.number(1.0) - taken if self.cell.input_forget else self.active(0, seen(2, c))
        cell = self.keep(kept * c + taken * self.active(1, gates(3)))
        given = self.active(0, seen(1, cell))
        return given * self.active(2, cell), cell

    def gru(self, update: Value, candidate: Value, h: Value) -> Value:
        """The next state of a GRU."""
        return (self.number(1.0) - update) * candidate + update * h
