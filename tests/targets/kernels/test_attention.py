# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Attention as one kernel of a processor's, held against onnxruntime."""

from __future__ import annotations

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
