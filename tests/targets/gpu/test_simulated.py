# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Kernels in oclgrind, a simulator that sees races and accesses out of bounds: none has any.

Buffers there are exactly as long as a kernel says that it reads and writes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from splitc_targets.gpu.pipeline import GpuCode
from tests.targets.gpu import test_loops
from tests.targets.gpu.device import compiled, simulated
from tests.targets.nets import Net

pytestmark = pytest.mark.skipif(
    shutil.which("oclgrind-kernel") is None, reason="oclgrind is not installed"
)


def _conv(net: Net, x: str, out: int, groups: int = 1, size: int = 3, **attrs: object) -> str:
    weights = net.random(out, net.shape(x)[1] // groups, size, size)
    return net.op("Conv", x, weights, net.random(out), group=groups, **attrs)


MASKED = np.where(np.arange(3)[:, None] == 1, -np.inf, np.ones((3, 37))).astype(np.float32)


def _guarded(net: Net, x: str) -> str:
    return net.op("Where", net.op("IsNaN", x), np.zeros(1, np.float32), x)


NETS: dict[str, Callable[[Net], str]] = {
    "3x3, border, stride, an epilogue": lambda n: n.op(
        "Relu", _conv(n, n.input(1, 5, 9, 7), 11, pads=[1, 1, 1, 1], strides=[2, 2])
    ),
    "groups": lambda n: _conv(n, n.input(2, 6, 5, 5), 9, groups=3),
    "depthwise, dilated": lambda n: _conv(
        n, n.input(1, 9, 8, 8), 9, groups=9, dilations=[2, 2], pads=[2, 2, 2, 2]
    ),
    "a vector by a matrix": lambda n: n.op("MatMul", n.input(1, 37), n.random(37, 45)),
    "batched products": lambda n: n.op("MatMul", n.input(3, 17, 9), n.input(3, 9, 19)),
    "batched products, the right side transposed": lambda n: n.op(
        "MatMul", n.input(3, 17, 12), n.op("Transpose", n.input(3, 19, 12), perm=[0, 2, 1])
    ),
    "attention with a mask": lambda n: n.op(
        "MatMul",
        n.op("Softmax", n.op(
            "Add", n.op("MatMul", n.input(2, 17, 9), n.input(2, 9, 35)), n.input(17, 35)
        ), axis=-1),
        n.input(2, 35, 5),
    ),
    "the place of the largest": lambda n: n.op("ArgMax", n.input(3, 70), axis=1),
    "the first of rows": lambda n: n.ops("TopK", n.input(2, 300), np.array([7]), results=2)[1],
    "a cumulative sum": lambda n: n.op("CumSum", n.input(2, 300), np.array(1), exclusive=1),
    "the best boxes": lambda n: n.op(
        "NonMaxSuppression", n.input(2, 5, 4), n.input(2, 3, 5), np.array([4]),
        np.array([0.5], np.float32), np.array([0.1], np.float32),
    ),
    "whole numbers' sum": lambda n: n.op(
        "ReduceSum", n.input(3, 70, dtype="int64"), np.array([1]), keepdims=0
    ),
    "numbers put into rows": lambda n: n.op(
        "ScatterND", n.input(7, 5), n.input(3, 1, values=np.array([[6], [0], [3]])), n.input(3, 5)
    ),
    "numbers put along rows": lambda n: n.op(
        "ScatterElements", n.input(7, 50), n.input(5, 3, values=np.ones((5, 3), np.int64)),
        n.input(5, 3), axis=1,
    ),
    "softmax of odd rows": lambda n: n.op("Softmax", n.input(3, 37), axis=-1),
    "softmax, rows without a result zeros": lambda n: _guarded(
        n, n.op("Softmax", n.input(3, 37, values=MASKED), axis=-1)
    ),
    "layer normalisation": lambda n: n.op(
        "LayerNormalization", n.input(3, 45), n.random(45), n.random(45)
    ),
    "a mean over many": lambda n: n.op("ReduceMean", n.input(3, 5, 70), axes=[2], keepdims=0),
    "a mean over few": lambda n: n.op("ReduceMean", n.input(7, 5, 6), axes=[1], keepdims=0),
    "the largest of windows": lambda n: n.op(
        "MaxPool", n.input(1, 5, 7, 9), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
    ),
    "means of windows": lambda n: n.op(
        "AveragePool", n.input(1, 5, 7, 9), kernel_shape=[3, 3], pads=[1, 1, 1, 1]
    ),
    "a transpose and a sum": lambda n: n.op(
        "Add", n.op("Transpose", n.input(5, 7), perm=[1, 0]), n.input(7, 5)
    ),
    "a layer with a cell": lambda n: n.op(
        "LSTM", n.input(3, 2, 5), n.random(1, 148, 5), n.random(1, 148, 37), hidden_size=37
    ),
    "a layer that resets its state": lambda n: n.op(
        "GRU", n.input(3, 2, 5), n.random(1, 21, 5), n.random(1, 21, 7), hidden_size=7
    ),
    "resizing": lambda n: n.op(
        "Resize", n.input(1, 3, 5, 5), None, np.array([1, 1, 1.6, 1.6], np.float32), mode="linear"
    ),
} | {
    f"TVM's loops, {name}": test_loops.NETS[name][1]
    for name in ("a product of whole numbers", "a mean of whole numbers", "softmax of doubles")
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_no_kernel_races_or_leaves_its_buffers(name: str, tmp_path: Path) -> None:
    net = Net(0)
    net.outputs = [NETS[name](net)]
    code = compiled(net.proto())
    assert code.program.launches
    for number in range(len(code.program.launches)):
        said = _simulated(code, number, tmp_path)
        assert said == "", f"launch {number}"


@pytest.mark.parametrize("precision", ["tf32", "float16"])
def test_no_product_by_tensor_cores_races_or_leaves_its_buffers(
    precision: str, tmp_path: Path
) -> None:
    # The twin has the kernel's barriers, and reads shared memory where a warp's lanes do.
    net = Net(0)
    net.outputs = [_conv(net, net.input(1, 9, 6, 7), 35, pads=[1, 1, 1, 1])]
    net.outputs.append(net.op("MatMul", net.input(2, 17, 33), net.input(2, 33, 19)))
    code = compiled(net.proto(), simulated(precision))
    assert code.program.source.count("__local int left") == 2
    for number in range(len(code.program.launches)):
        assert _simulated(code, number, tmp_path) == "", f"launch {number}"


def test_the_simulator_sees_what_leaves_a_buffer(tmp_path: Path) -> None:
    net = Net(0)
    net.outputs = [net.op("Relu", net.input(100))]
    assert "Invalid" in _simulated(compiled(net.proto()), 0, tmp_path, short=4)


def _types(code: GpuCode, symbol: str) -> list[str]:
    """The element types of a kernel's parameters, in the simulator's words."""
    source = code.program.source
    start = source.rindex(f" {symbol}(")
    found = re.findall(r"__global (\w+)\*", source[start : source.index(")", start)])
    return ["char" if each == "bool" else each for each in found]


def _simulated(code: GpuCode, number: int, folder: Path, short: int = 0) -> str:
    """What the simulator finds wrong with a launch, its buffers `short` bytes short."""
    launch = code.program.launches[number]
    (folder / "kernels.cl").write_text(code.program.source, "utf-8")
    lines = ["kernels.cl", launch.symbol]
    sizes = zip(launch.blocks, launch.threads, strict=True)
    lines.append(" ".join(str(blocks * threads) for blocks, threads in sizes))
    lines.append(" ".join(map(str, launch.threads)))
    weights = code.weights.array()
    for place, kind in zip(launch.places, _types(code, launch.symbol), strict=True):
        size = max(4, place.bytes - short)
        if place.memory == "weights":
            words = weights[place.offset : place.offset + size].view(np.uint32)
            lines += [f"<size={size} uint>", " ".join(map(str, words))]
        else:
            lines.append(f"<size={size} {kind} fill=1>")
    (folder / "launch.sim").write_text("\n".join(lines) + "\n", "utf-8")
    done = subprocess.run(
        ["oclgrind-kernel", "--data-races", "--build-options", "-cl-std=CL1.2", "launch.sim"],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
