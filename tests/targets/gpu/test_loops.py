# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""What no rule knows, by TVM's loops bound to threads: as onnxruntime has it."""

from __future__ import annotations

from tests.targets.gpu.device import assert_right, needs_opencl
from tests.targets.nets import Net

pytestmark = needs_opencl


def test_nests_that_hand_on_tensors_of_equal_names() -> None:
    net = Net(0)
    x, scale, shift, mean = net.input(2, 3, 4, 5), *(net.input(3) for _ in range(3))
    variance = net.input(3, values=net.positive(3))
    net.outputs = [net.op("BatchNormalization", x, scale, shift, mean, variance)]
    assert "batch_norm" in " ".join(assert_right(net).fallbacks)


def test_functions_that_opencl_names_otherwise() -> None:
    net = Net(0)
    x = net.input(37, values=net.positive(37) / 50)
    net.outputs = [net.op(name, x) for name in ("Acos", "Asin", "Atan", "Asinh", "Cosh", "Tan")]
    net.outputs.append(net.op("Acosh", net.op("Exp", x)))
    assert_right(net)
