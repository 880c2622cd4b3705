# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Attention as one kernel of threads, held against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.targets.gpu.device import assert_right, compiled, needs_opencl
from tests.targets.nets import SEEDS, Draw, Net, one_of
from tests.targets.rules.test_networks import sweep


def attention(
    net: Net, heads: int, rows: int, keys: int, sizes: tuple[int, int], mask: str, *,
    turned: bool, guarded: bool = False,
) -> tuple[str, str]:  # fmt: skip
    """Softmax of the scores, and the result: heads apart going in, side by side coming out."""
    batch, (depth, width) = 2, sizes
    q = net.op("Transpose", net.input(batch, rows, heads, depth), perm=[0, 2, 1, 3])
    k = net.input(batch, heads, keys, depth) if turned else net.input(batch, heads, depth, keys)
    k = net.op("Transpose", k, perm=[0, 1, 3, 2]) if turned else k
    scores = net.op("Div", net.op("MatMul", q, k), np.array(depth**0.5, np.float32))
    shapes = {
        "keys": (batch, 1, 1, keys),
        "causal": (rows, keys),
        "all": (batch, heads, rows, keys),
        "rows": (batch, 1, rows, 1),
        "heads": (1, heads, 1, 1),
        "one": (1,),
    }
    if mask:
        name = net.input(*shapes[mask])
        hidden = net.rng.random(shapes[mask]) < 0.6
        lowest = -np.inf
        if shapes[mask][-1] > 1 and net.rng.random() < 0.5:
            # For every key of a row it would leave no digits of its scores: one is not hidden.
            lowest, hidden[..., 0] = -1e4, False
        net.inputs[name][hidden] = lowest
        scores = net.op("Add", scores, name)
    shares = net.op("Softmax", scores, axis=-1)
    if guarded:
        shares = net.op("Where", net.op("IsNaN", shares), np.zeros(1, np.float32), shares)
    y = net.op("MatMul", shares, net.input(batch, heads, keys, width))
    y = net.op("Transpose", y, perm=[0, 2, 1, 3])
    return shares, net.op("Reshape", y, np.array([batch, rows, heads * width], np.int64))


@st.composite
def attentions(draw: Draw) -> Net:
    """Scores of all forms that networks have, some numbers infinite or none at all."""
    net = Net(draw(SEEDS))
    sizes = one_of(draw, (4, 4), (1, 9), (33, 16), (64, 64), (9, 1))
    _, y = attention(
        net, one_of(draw, 1, 3), one_of(draw, 8, 17, 66), one_of(draw, 1, 17, 32, 70), sizes,
        one_of(draw, "", "keys", "causal", "all", "rows", "heads", "one"),
        turned=draw(st.booleans()), guarded=draw(st.booleans()),
    )  # fmt: skip
    extreme = one_of(draw, 0.0, np.inf, -np.inf, np.nan)
    if extreme:
        name = draw(st.sampled_from(sorted(net.inputs)))
        net.inputs[name].flat[0] = extreme
    beside = one_of(draw, None, net.shape(y), (1,), (2, 1, 1))
    net.outputs = [y if beside is None else net.op("Add", y, net.input(*beside))]
    return net


@needs_opencl
@sweep(20)
@given(attentions())
def test_it_gives_what_its_operations_give(net: Net) -> None:
    code = assert_right(net)
    assert [kernel.rule for kernel in code.kernels].count("attention") == 1
    assert not {"softmax", "matmul"} & {kernel.rule for kernel in code.kernels}


@needs_opencl
@pytest.mark.parametrize("extreme", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("where", ["queries", "keys", "values"])
def test_rows_without_a_result_are_zeros_but_where_values_are_infinite(
    where: str, extreme: float
) -> None:
    net = Net(0)
    _, y = attention(net, 2, 17, 70, (9, 5), "rows", turned=False, guarded=True)
    queries, keys, _, values = net.inputs
    named = {"queries": queries, "keys": keys, "values": values}[where]
    net.inputs[named].flat[[0, -1]] = extreme
    net.outputs = [y]
    assert_right(net)


def test_no_scores_are_kept_in_memory() -> None:
    net = Net(0)
    net.outputs = [attention(net, 3, 64, 512, (16, 16), "keys", turned=True)[1]]
    assert compiled(net.proto()).activation_bytes < 2 * 3 * 64 * 512 * 4 // 2


@pytest.mark.parametrize("why", ["shares are a result", "one row", "columns beyond shared memory"])
def test_it_stays_apart_where_one_kernel_does_not_do(why: str) -> None:
    net = Net(0)
    rows, size = (1, 8) if why == "one row" else (9, 8)
    size = 250 if why == "columns beyond shared memory" else size
    shares, y = attention(net, 1, rows, 9, (size, 8), "", turned=False)
    net.outputs = [y, shares] if why == "shares are a result" else [y]
    rules = {kernel.rule for kernel in compiled(net.proto()).kernels}
    assert "softmax" in rules
    assert "attention" not in rules
