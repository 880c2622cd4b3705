# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Attention as one kernel of a processor's, held against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from tests.targets.gpu.test_attention import attention, attentions
from tests.targets.nets import Net, assert_right, compiled
from tests.targets.rules.test_networks import sweep


@sweep(20)
@given(attentions())
def test_it_gives_what_its_operations_give(net: Net) -> None:
    code = assert_right(net)
    assert [kernel.rule for kernel in code.kernels].count("attention") == 1


def test_scores_are_not_stored() -> None:
    net = Net(0)
    _, y = attention(net, 2, 2100, 2100, (4, 4), "keys", turned=True)
    net.outputs = [y]
    code = compiled(net.proto())
    assert code.activation_bytes < 2 * 2 * 2100 * 2100
    assert "softmax" not in {kernel.rule for kernel in code.kernels}


@pytest.mark.parametrize("beside", ["rows", "heads", "one"])
def test_what_many_scores_share_is_not_repeated_in_memory(beside: str) -> None:
    net = Net(0)
    net.outputs = [attention(net, 2, 64, 512, (4, 4), beside, turned=True)[1]]
    assert compiled(net.proto()).activation_bytes < 4 * 2 * 2 * 64 * 512


@pytest.mark.parametrize("lost", [-np.inf, np.nan])
def test_rows_without_a_result_are_zeros_where_the_network_has_it_so(lost: float) -> None:
    net = Net(0)
    q, k, v = net.input(2, 40, 5), net.input(2, 5, 33), net.input(2, 33, 6)
    mask = np.zeros((40, 33), np.float32)
    mask[7], mask[21, 1:] = lost, -np.inf
    scores = net.op("Add", net.op("MatMul", q, k), net.input(40, 33, values=mask))
    shares = net.op("Softmax", scores, axis=-1)
    shares = net.op("Where", net.op("IsNaN", shares), np.zeros(1, np.float32), shares)
    net.outputs = [net.op("MatMul", shares, v)]
    code = assert_right(net)
    assert [kernel.rule for kernel in code.kernels] == ["attention"]


@pytest.mark.parametrize("causal", [0, 1])
def test_the_operator_is_one_kernel(causal: int) -> None:
    net = Net(0, opset=23)
    q, k, v = (net.input(1, 4, 37, 16) for _ in range(3))
    net.outputs = [net.op("Attention", q, k, v, is_causal=causal)]
    code = assert_right(net)
    assert [kernel.rule for kernel in code.kernels] == ["attention"]


@pytest.mark.parametrize("factor", [0.25, 2.5])
def test_a_factor_of_either_side_is_the_scores(factor: float) -> None:
    net = Net(0)
    q, k, v = net.input(2, 20, 8), net.input(2, 8, 17), net.input(2, 17, 8)
    q = net.op("Div", q, np.array(factor, np.float32))
    k = net.op("Mul", k, np.array(factor, np.float32))
    shares = net.op("Softmax", net.op("MatMul", q, k), axis=-1)
    net.outputs = [net.op("MatMul", shares, v)]
    assert [kernel.rule for kernel in assert_right(net).kernels] == ["attention"]
