# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Maps sampled by a grid and regions of maps, by rule: as onnxruntime has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.targets.emulated import emulated
from tests.targets.nets import SEEDS, Draw, Net, assert_right, assert_same, wanted
from tests.targets.nets import one_of as one
from tests.targets.rules.test_networks import sweep


@st.composite
def sampled(draw: Draw) -> Net:
    """GridSample of maps of two axes or three, places well beyond the map too."""
    net = Net(draw(SEEDS), opset=20)
    sides = one(draw, (5, 7), (1, 6), (17, 3), (3, 4, 5))
    channels, batch = one(draw, 3, 1, 8, 21, 70), one(draw, 1, 2)
    x = net.input(batch, channels, *sides)
    if draw(st.booleans()):
        x = net.op("Relu", x)
    out = one(draw, (4, 5), (1, 1), (9, 13))
    out = out if len(sides) == 2 else (3, *out)
    grid = net.input(batch, *out, len(sides), values=net.rng.uniform(
        -3, 3, (batch, *out, len(sides))).astype(np.float32))  # fmt: skip
    mode = one(draw, "linear", "nearest", *(["cubic"] if len(sides) == 2 else []))
    padding, corners = one(draw, "zeros", "border", "reflection"), one(draw, 0, 1)
    how = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    net.outputs = [net.op("GridSample", x, grid, **how)]
    return net


@sweep(60)
@given(sampled())
def test_maps_sampled_by_a_grid(net: Net) -> None:
    assert not assert_right(net).fallbacks


@pytest.mark.parametrize("padding", ["zeros", "reflection"])
def test_arm_samples_the_same(padding: str, tmp_path: Path) -> None:
    net = Net(1, 20)
    few, many = net.input(1, 3, 5, 7), net.input(1, 21, 5, 7)
    places = net.rng.uniform(-2, 2, (1, 9, 5, 2)).astype(np.float32)
    grid = net.input(1, 9, 5, 2, values=places)
    net.outputs = [
        net.op("GridSample", x, grid, mode=mode, padding_mode=padding)
        for x in (few, many)
        for mode in ("linear", "nearest", "cubic")
    ]
    proto = net.proto()
    found, rules = emulated(proto, "rpi4", list(net.inputs.values()), tmp_path)
    assert_same(found, wanted(proto, net.inputs))
    assert "grid" in rules
