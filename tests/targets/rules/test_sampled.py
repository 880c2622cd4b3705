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


@st.composite
def regions(draw: Draw) -> Net:
    """RoiAlign of regions of any size, some of them beyond the map."""
    net = Net(draw(SEEDS), opset=16)
    batch, channels = one(draw, 2, 1), one(draw, 3, 1, 21, 70)
    x = net.input(batch, channels, *one(draw, (9, 7), (1, 6), (17, 13)))
    if draw(st.booleans()):
        x = net.op("Relu", x)
    count, scale = one(draw, 5, 1, 12), one(draw, 1.0, 0.5)
    first, extent = net.rng.uniform(-8, 20, (count, 2)), net.rng.uniform(0.1, 20, (count, 2))
    corners = np.concatenate([first, first + extent], 1).astype(np.float32)
    rois = net.input(count, 4, values=corners)
    samples = net.input(count, values=net.rng.integers(0, batch, count))
    net.outputs = [
        net.op(
            "RoiAlign", x, rois, samples, output_height=one(draw, 2, 1, 7),
            output_width=one(draw, 3, 1, 7), sampling_ratio=one(draw, 0, 1, 2, 3),
            spatial_scale=scale,
            coordinate_transformation_mode=one(draw, "half_pixel", "output_half_pixel"),
        )
    ]  # fmt: skip
    return net


@sweep(40)
@given(regions())
def test_regions_of_maps(net: Net) -> None:
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
    corners = net.input(2, 4, values=np.array([[0, 1, 3, 4], [-3, 0, 9, 9]], np.float32))
    net.outputs.append(net.op("RoiAlign", many, corners, np.array([0, 0]), output_height=2))
    proto = net.proto()
    found, rules = emulated(proto, "rpi4", list(net.inputs.values()), tmp_path)
    assert_same(found, wanted(proto, net.inputs))
    assert {"grid", "regions"} <= rules
