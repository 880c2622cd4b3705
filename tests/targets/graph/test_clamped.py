# SPDX-License-Identifier: Apache-2.0
"""Whole numbers within bounds are found in expressions, and are what the expressions are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from splitc_targets.graph.expression import Arg, Do, Expression, Num, clamped

VALUES = np.concatenate([np.linspace(-300, 300, 1201), [-1e9, -2.5, -0.5, 0.5, 1.5, 2.5, 1e9]])
STEPS = {"add": np.add, "subtract": np.subtract, "maximum": np.maximum, "minimum": np.minimum}


@given(
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(-300, 300)), max_size=6),
)
def test_what_is_found_is_what_the_expression_is(steps: list[tuple[str, int]]) -> None:
    expression: Expression = Do("round", (Arg(0),))
    want = np.rint(VALUES)
    for op, number in steps:
        expression = Do(op, (expression, Num(float(number))))
        want = STEPS[op](want, float(number))
    found = clamped(expression)
    assert found is not None
    assert found.value == Arg(0)
    np.testing.assert_array_equal(
        np.clip(np.rint(VALUES) + found.shift, found.low, found.high), want
    )


def test_anything_else_is_not() -> None:
    rounded = Do("round", (Arg(0),))
    for expression in (
        Arg(0),
        Num(3.0),
        Do("add", (rounded, Num(0.5))),
        Do("add", (rounded, Arg(1))),
        Do("subtract", (Num(4.0), rounded)),
        Do("multiply", (rounded, Num(2.0))),
        Do("maximum", (Arg(0), Num(0.0))),
    ):
        assert clamped(expression) is None
