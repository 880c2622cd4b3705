# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Whole numbers within bounds are found in expressions, and are what the expressions are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from splitc_targets.graph.expression import (
    Arg,
    Do,
    Expression,
    Num,
    clamped,
    in_few_steps,
    operations,
    text,
)

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


def valued(expression: Expression, x: np.ndarray, byte: np.ndarray) -> np.ndarray | np.float32:
    """An expression's values in float32, an operation at a time."""
    if isinstance(expression, Arg):
        return (x, byte)[expression.index]
    if isinstance(expression, Num):
        return np.float32(expression.value)
    functions = {**STEPS, "multiply": np.multiply, "round": np.rint}
    return functions[expression.op](*(valued(arg, x, byte) for arg in expression.args))


@given(
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(-300, 300)), max_size=6),
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(-300, 300)), max_size=6),
)
def test_fewer_steps_give_the_same_numbers(
    rounded: list[tuple[str, int]], beside: list[tuple[str, int]]
) -> None:
    made: list[Expression] = []
    for start, steps in ((Do("round", (Arg(0),)), rounded), (Arg(1), beside)):
        expression: Expression = start
        for op, number in steps:
            expression = Do(op, (expression, Num(float(number))))
        made.append(Do("multiply", (expression, Num(0.3))))
    whole = Do("add", (made[0], made[1]))
    fewer = in_few_steps(whole, [1])
    x = VALUES.astype(np.float32)
    bytes_ = np.resize(np.arange(-128, 256), x.shape).astype(np.float32)
    np.testing.assert_array_equal(valued(fewer, x, bytes_), valued(whole, x, bytes_))
    assert len(operations(fewer)) <= len(operations(whole))


def test_zero_points_are_added_once() -> None:
    """A residual as quantised networks have it."""
    inner = Do("add", (Do("round", (Arg(0),)), Num(95.0)))
    inner = Do("minimum", (Do("maximum", (inner, Num(0.0))), Num(255.0)))
    inner = Do("add", (inner, Num(-95.0)))
    beside = Do("subtract", (Do("add", (Arg(1), Num(128.0))), Num(117.0)))
    total = in_few_steps(Do("add", (inner, beside)), [1])
    assert text(total) == "add(minimum(maximum(round(x0), -95), 160), add(x1, 11))"
