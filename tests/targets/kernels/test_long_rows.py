# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Convolutions over one long row: cores share it, also where tiles at its ends are others."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import onnxruntime
from hypothesis import given, settings
from hypothesis import strategies as st

from splitc.cost.board import load_board
from splitc_targets import pipeline
from splitc_targets.kernels.product import direct, geometry
from splitc_targets.machine.machine import machine_of
from splitc_targets.tvm import adapter
from tests.targets.nets import Net, computed


@settings(max_examples=16, deadline=None)
@given(
    channels=st.integers(1, 70),
    out=st.integers(1, 70),
    length=st.integers(30, 700),
    kernel=st.integers(1, 5),
    dilation=st.integers(1, 9),
    stride=st.integers(1, 2),
    pads=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_every_tile_of_a_row_is_computed(
    channels: int, out: int, length: int, kernel: int, dilation: int, stride: int,
    pads: tuple[int, int],
) -> None:  # fmt: skip
    if length + sum(pads) < (kernel - 1) * dilation + 1:
        return
    net = Net(0)
    x = net.input(1, channels, length)
    net.outputs = [
        net.op("Conv", x, net.random(out, channels, kernel), net.random(out), pads=list(pads),
               dilations=[dilation], strides=[stride])
    ]  # fmt: skip
    proto = net.proto()
    board = msgspec.structs.replace(load_board("host"), cores=4)
    got = computed(pipeline.compile_module(adapter.lower(proto), board), proto, net.inputs)[0]
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    want = np.asarray(session.run(None, net.inputs)[0])
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * max(1.0, float(np.abs(want).max())))


def test_cores_share_a_row_whose_ends_are_padded() -> None:
    """Of so few channels that there is nothing else to share."""
    row, made = (1, 64, 1, 512), (1, 8, 1, 512)
    conv = geometry.of_maps(row, made, 1, (1, 3), (1, 1), (0, 8), (1, 8))
    machine = dataclasses.replace(machine_of(load_board("x86-64-v3")), cores=4)
    assert "T.parallel(" in direct.kernel("row", conv, machine, 64 * 8 * 3).script()
