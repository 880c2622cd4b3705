# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Tensors in float16 on a graphics processor: a network's own, and those between kernels."""

from __future__ import annotations

import numpy as np
import pytest

from splitc.cost.board import load_board
from splitc.cost.precision import at_precision
from splitc_targets.gpu import cuda
from tests.targets.gpu.device import compiled, needs_opencl, run, simulated
from tests.targets.nets import Net, wanted


def _net(dtype: str) -> Net:
    """Kernels of each kind, one behind the other."""
    net = Net(0)
    x = net.input(1, 4, 13, 11, dtype=dtype)

    def weights(*shape: int) -> np.ndarray:
        return (net.random(*shape) * 0.3).astype(dtype)

    x = net.op("Relu", net.op("Conv", x, weights(20, 4, 3, 3), weights(20), pads=[1, 1, 1, 1]))
    x = net.op("Conv", x, weights(20, 1, 3, 3), group=20)
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    x = net.op("Sigmoid", net.op("Conv", x, weights(24, 20, 1, 1)))
    x = net.op("Transpose", net.op("Reshape", x, np.array([24, -1])), perm=[1, 0])
    x = net.op("MatMul", x, weights(24, 17))
    net.outputs = [net.op("Softmax", x, axis=-1)]
    return net


@needs_opencl
def test_a_network_in_float16_runs_with_its_own_types_outside() -> None:
    net = _net("float16")
    proto = net.proto()
    code = compiled(proto)
    assert [dtype for _, dtype in (*code.inputs, *code.outputs)] == ["float16", "float16"]
    (got,) = run(code, *net.inputs.values())
    (want,) = wanted(proto, net.inputs)
    # Between, it is more exact than the reference, which rounds each layer to 2**-11 of itself.
    np.testing.assert_allclose(got.astype(np.float32), want.astype(np.float32), atol=2e-3)


@needs_opencl
def test_tensors_between_kernels_take_half_the_memory_in_float16() -> None:
    net = _net("float32")
    proto = net.proto()
    whole, half = compiled(proto), compiled(proto, simulated("float16"))
    assert half.activation_bytes < 0.6 * whole.activation_bytes
    assert [dtype for _, dtype in (*half.inputs, *half.outputs)] == ["float32", "float32"]
    (got,), (want,) = run(half, *net.inputs.values()), wanted(proto, net.inputs)
    # Seven layers, each rounded to 2**-11 of itself; probabilities are below 1.
    np.testing.assert_allclose(got, want, atol=7 * 2**-11)


@needs_opencl
@pytest.mark.parametrize(
    ("rows", "depth", "columns"), [(1, 4097, 70), (8, 129, 33), (3, 5, 1), (1, 2560, 40)]
)
def test_few_rows_read_weights_of_half_the_bytes_and_are_summed_in_float32(
    rows: int, depth: int, columns: int
) -> None:
    net = Net(0)
    # Multiples of 1/8 below 8, which float16 has; their sums it has not, float32 does.
    weights = np.floor(net.random(depth, columns) * 8).clip(-63, 63) / 8
    x = net.input(rows, depth)
    net.inputs[x] = np.floor(net.inputs[x] * 8).clip(-63, 63) / 8
    net.outputs = [net.op("MatMul", x, weights.astype(np.float32))]
    proto = net.proto()
    whole, half = compiled(proto), compiled(proto, simulated("float16"))
    assert "splitc_float(" in half.program.source
    # Constants begin at multiples of 64 bytes.
    assert half.weights.bytes <= whole.weights.bytes / 2 + 64
    (got,) = run(half, *net.inputs.values())
    want = net.inputs[x].astype(np.float64) @ weights
    np.testing.assert_array_equal(got, want)


def test_whole_numbers_stay_as_exact_as_they_are() -> None:
    net = Net(0)
    counted = net.op("Round", net.op("MatMul", net.input(9, 40), net.random(40, 30)))
    net.outputs = [net.op("Softmax", net.op("MatMul", counted, net.random(30, 20)))]
    proto = net.proto()
    exact, asked = compiled(proto), compiled(proto, simulated("float16"))
    assert asked.activation_bytes == exact.activation_bytes


@pytest.mark.parametrize("name", ["cuda-sm75", "cuda-sm90"])
def test_nvidias_compiler_takes_kernels_of_halves(name: str) -> None:
    board = at_precision({"server": load_board(name)}, "float16")["server"]
    for dtype in ("float16", "float32"):
        source = compiled(_net(dtype).proto(), board).program.source
        assert "splitc_float(" in source
        usage = cuda.compile_source(source, f"sm_{name[-2:]}").usage
        assert all(each.spill_bytes == 0 for each in usage.values())
