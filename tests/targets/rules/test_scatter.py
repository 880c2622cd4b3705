# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Numbers put at computed places, by rule: as onnxruntime has it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from tests.targets.nets import Net, assert_right, assert_same, compiled, computed
from tests.targets.rules.test_networks import sweep
from tests.targets.scatters import along, rows

SHAPES = ((7, 5), (3, 4, 6), (300,), (2, 3, 1, 17), (5, 200, 33))


@sweep(30)
@given(along(SHAPES))
def test_numbers_put_along_an_axis(net: Net) -> None:
    assert not assert_right(net).fallbacks


@sweep(30)
@given(rows(SHAPES))
def test_numbers_put_into_rows(net: Net) -> None:
    assert not assert_right(net).fallbacks


@pytest.mark.parametrize("op", ["ScatterElements", "ScatterND"])
def test_truth_values_are_put(op: str) -> None:
    net = Net(0, 18)
    x, places = net.input(9, 21, dtype="bool"), np.array([[5], [0], [5]])
    given_places = net.input(3, 1, values=places)
    updates = net.input(3, *((21,) if op == "ScatterND" else (1,)), dtype="bool")
    net.outputs = [net.op(op, x, given_places, updates)]
    assert not assert_right(net).fallbacks


def test_of_numbers_put_into_one_element_the_last_stays() -> None:
    net = Net(0, 18)
    x, many = net.input(1000, 64), 3000
    places = net.rng.integers(0, 1000, (many, 64))
    updates = net.input(many, 64)
    net.outputs = [net.op("ScatterElements", x, net.input(many, 64, values=places), updates)]
    code = compiled(net.proto())
    want = net.inputs[x].copy()
    for row, to in zip(net.inputs[updates], places, strict=True):
        want[to, np.arange(64)] = row
    assert_same(computed(code, net.proto(), net.inputs), [want], rtol=0)
