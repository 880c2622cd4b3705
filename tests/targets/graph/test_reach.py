# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Bounds of an expression hold what it gives within the bounds of its operands."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from splitc_targets.graph.expression import Arg, Do, Expression, Num
from splitc_targets.graph.reach import furthest, interval

FUNCTIONS = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "maximum": np.maximum,
    "minimum": np.minimum, "round": np.rint,
}  # fmt: skip
PAIRS = sorted({*FUNCTIONS} - {"round"})
LEAVES = st.one_of(st.integers(0, 1).map(Arg), st.floats(-9, 9, width=16).map(Num))
EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda x: Do("round", (x,)), inner),
        st.builds(
            lambda op, x, y: Do(op, (x, y)),
            st.sampled_from(sorted({*FUNCTIONS} - {"round"})),
            inner,
            inner,
        ),
    ),
    max_leaves=6,
)


def valued(expression: Expression, operands: list[np.ndarray]) -> np.ndarray:
    """An expression's values in float64."""
    if isinstance(expression, Arg):
        return operands[expression.index]
    if isinstance(expression, Num):
        return np.asarray(expression.value)
    return FUNCTIONS[expression.op](*(valued(arg, operands) for arg in expression.args))


@given(EXPRESSIONS, st.integers(0, 2**32 - 1))
def test_no_value_lies_beyond(expression: Expression, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ends = [np.sort(rng.uniform(-20, 20, (2, 3)), 0) for _ in range(2)]
    operands = [rng.uniform(low, high, (50, 3)) for low, high in ends]
    found = interval(expression, [(low, high) for low, high in ends])
    assert found is not None
    values = valued(expression, operands)
    assert (values >= found[0] - 1e-9).all()
    assert (values <= found[1] + 1e-9).all()
    assert furthest(found) >= np.abs(values).max() - 1e-9


def test_what_is_not_looked_at_has_none() -> None:
    known = np.asarray(1.0), np.asarray(2.0)
    assert interval(Do("exp", (Arg(0),)), [known]) is None
    assert interval(Do("add", (Arg(0), Arg(1))), [known, None]) is None
