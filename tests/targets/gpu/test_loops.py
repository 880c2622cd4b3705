# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""What no rule knows, by TVM's loops bound to threads: as onnxruntime has it, and named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tvm import te, topi

from splitc.cost.board import load_board
from splitc_targets.gpu.lowering import fits, target_of
from splitc_targets.gpu.schedule import bound
from tests.targets.gpu.device import BOARD, assert_right, needs_opencl
from tests.targets.nets import Net

pytestmark = needs_opencl


def _whole(net: Net, *shape: int) -> str:
    return net.input(*shape, dtype="int32")


NETS: dict[str, tuple[str, Callable[[Net], str]]] = {
    "a product of whole numbers": (
        "matmul by dlight's Matmul",
        lambda n: n.op("MatMul", _whole(n, 2, 33, 70), _whole(n, 2, 70, 19)),
    ),
    "a vector by a matrix of whole numbers": (
        "matmul by dlight's Reduction",
        lambda n: n.op("MatMul", _whole(n, 1, 70), _whole(n, 70, 19)),
    ),
    "a mean of whole numbers": (
        "mean by dlight's Reduction",
        lambda n: n.op("ReduceMean", _whole(n, 5, 70), axes=[1], keepdims=0),
    ),
    "softmax of doubles": (
        "softmax by dlight's GeneralReduction",
        lambda n: n.op("Softmax", n.input(5, 70, dtype="float64"), axis=-1),
    ),
    "a convolution by weights that come in": (
        "conv2d by dlight's Matmul",
        lambda n: n.op("Conv", n.input(1, 5, 7, 9), n.input(3, 5, 3, 3)),
    ),
    "nests that hand on tensors of equal names": (
        "batch_norm by dlight's Fallback",
        lambda n: n.op(
            "BatchNormalization", n.input(2, 3, 4, 5), n.input(3), n.input(3), n.input(3),
            n.input(3, values=n.positive(3)),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_what_no_rule_knows_is_right_and_says_what_bound_it(name: str) -> None:
    net = Net(0)
    how, build = NETS[name]
    net.outputs = [build(net)]
    assert how in [kernel.op for kernel in assert_right(net).kernels]


def test_functions_that_opencl_names_otherwise() -> None:
    net = Net(0)
    x = net.input(37, values=net.positive(37) / np.float32(2.5))
    net.outputs = [net.op(name, x) for name in ("Acos", "Asin", "Atan", "Asinh", "Cosh", "Tan")]
    net.outputs.append(net.op("Acosh", net.op("Exp", x)))
    assert_right(net)


def test_what_a_rule_leaves_to_the_host_is_bound_by_another() -> None:
    x = te.placeholder((70,), "float32", name="x")
    function = te.create_prim_func([x, topi.argmax(x, axis=0)])
    target = target_of(load_board(BOARD))
    assert not fits(function, target)
    made = bound(function, target)
    assert made.how == "dlight's Fallback"
    assert fits(made.function, target)
