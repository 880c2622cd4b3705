# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Sigmoid, what is made of it, and the hyperbolic tangent, against float64, here and on ARM."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from splitc.arrays import Array
from tests.targets.emulated import emulated
from tests.targets.nets import Net, compiled, computed

INF, NAN = float("inf"), float("nan")
VALUES = np.concatenate([
    np.linspace(-110, 110, 5001), np.linspace(-9, 9, 5001),
    [INF, -INF, NAN, -NAN, 0, -0.0, 1e-30, -1e-30, 3e38, -3e38, -88.3, -88.38],
]).astype(np.float32)  # fmt: skip


def network() -> Net:
    """Functions of many numbers, and the same behind a product, of which sums are finished."""
    net = Net(0)
    x = net.input(*VALUES.shape, values=VALUES)
    rows = net.input(len(VALUES), 1, values=VALUES[:, None])
    copied = net.op("MatMul", rows, np.ones((1, 5), np.float32))
    for each in (x, copied):
        bell = net.op("Sigmoid", each)
        net.outputs += [bell, net.op("Mul", each, bell), net.op("Tanh", each)]
    return net


def check(found: list[Array]) -> None:
    """Not-a-number of either sign stays it; what is denormal may be 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        exact = VALUES.astype(np.float64)
        bell = 1 / (1 + np.exp(-exact))
        wanted = [bell, exact * bell, np.tanh(exact)]
    for got, want in zip(found, wanted * 2, strict=True):
        whole = want if got.ndim == 1 else np.repeat(want[:, None], 5, 1)
        np.testing.assert_allclose(got, whole, rtol=6e-7, atol=1.2e-36)


def test_sigmoid_and_tanh_are_within_a_few_steps_of_float64() -> None:
    net = network()
    proto = net.proto()
    check(computed(compiled(proto), proto, net.inputs))


def test_so_they_are_on_arm(tmp_path: Path, qemu: None) -> None:
    net = network()
    check(emulated(net.proto(), "rpi4", list(net.inputs.values()), tmp_path)[0])
