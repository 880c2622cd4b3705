# SPDX-License-Identifier: Apache-2.0
"""One multiplication where a product's sums are scaled, and divided by another scale to be rounded.

Rewrites, of products by weights, behind fusion::

    round(max(sum * scales, 0) / s)   ->   round(max(sum * (scales / s), 0))

A vector's division takes as long as ten products. The quotient differs in its last bits, as sums
do by the order they are made in: so a result differs where it lies half way between two numbers.
What is only moved or converted (a network's input, a pool's largest) is divided as it is written.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from splitc_targets.graph.expression import Arg, Do, Expression, Num, substitute
from splitc_targets.graph.graph import Graph, Value, constant

_PRODUCTS = frozenset({
    "nn.conv2d", "nn.conv1d", "nn.conv2d_transpose", "nn.conv1d_transpose", "matmul",
})  # fmt: skip


def requantise(graph: Graph) -> None:
    """Rewrite the expressions behind products."""
    for node in graph.nodes:
        if node.op in _PRODUCTS and "expression" in node.attrs:
            *given, extras = node.args
            ends = _Ends(list(extras))
            expression = ends.rewritten(node.attrs["expression"])
            used = sorted(_operands(expression) - {0})
            node.attrs["expression"] = substitute(
                expression, lambda k, used=used: Arg(used.index(k) + 1 if k else 0)
            )
            node.attrs["extras"] = len(used)
            node.args = [*given, [ends.extras[k - 1] for k in used]]


def _operands(expression: Expression) -> set[int]:
    """The numbers of the operands that an expression reads."""
    if isinstance(expression, Arg):
        return {expression.index}
    if isinstance(expression, Num):
        return set()
    return set[int]().union(*map(_operands, expression.args))


@dataclass
class _Ends:
    """An expression's operands behind the sum while it is rewritten."""

    extras: list[Value]

    def rewritten(self, expression: Expression) -> Expression:
        """The expression, what is rounded of a quotient by a number without division."""
        if not isinstance(expression, Do):
            return expression
        if expression.op == "round" and _divided(expression.args[0]):
            quotient = expression.args[0]
            assert isinstance(quotient, Do)
            whole, by = quotient.args
            assert isinstance(by, Num)
            return Do("round", (self._scaled(self.rewritten(whole), 1.0 / by.value),))
        return Do(expression.op, tuple(self.rewritten(each) for each in expression.args))

    def _scaled(self, expression: Expression, factor: float) -> Expression:
        """An expression times a positive number, by what it is multiplied with if it is so."""
        if isinstance(expression, Do):
            x, *more = expression.args
            y = more[0] if more else None
            if isinstance(y, Num) and _usual(y.value * factor):
                if expression.op in ("maximum", "minimum"):
                    return Do(expression.op, (self._scaled(x, factor), Num(y.value * factor)))
                if expression.op == "multiply":
                    return Do("multiply", (x, Num(y.value * factor)))
            if expression.op == "multiply" and isinstance(y, Arg):
                scales = self._scales(y, factor)
                if scales is not None:
                    return Do("multiply", (x, scales))
        return Do("multiply", (expression, Num(factor)))

    def _scales(self, operand: Arg, factor: float) -> Arg | None:
        """A stored operand times a number, as one more operand; None where it is not stored."""
        held = self.extras[operand.index - 1].data if operand.index else None
        if held is None:
            return None
        made = held.astype(np.float64) * factor
        if not all(map(_usual, made.ravel().tolist())):
            return None
        self.extras.append(constant(made.astype(held.dtype)))
        return Arg(len(self.extras))


def _divided(expression: Expression) -> bool:
    """Whether it is a quotient by a positive number whose reciprocal is a usual one."""
    if not isinstance(expression, Do) or expression.op != "divide":
        return False
    by = expression.args[1]
    return isinstance(by, Num) and by.value > 0 and _usual(by.value) and _usual(1.0 / by.value)


def _usual(number: float) -> bool:
    """Whether float32 has a number to all its digits."""
    return number == 0 or _LIMITS[0] <= abs(number) <= _LIMITS[1]


_LIMITS = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
