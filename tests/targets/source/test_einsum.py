# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Einsum of every form: products and sums that rules compute, as numpy and onnxruntime have it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitc_targets.pipeline import Code
from tests.targets.nets import (
    SEEDS,
    Draw,
    Net,
    assert_right,
    assert_same,
    compiled,
    computed,
    one_of,
)
from tests.targets.rules.test_networks import sweep

SIZES = {"a": 3, "b": 2, "c": 5, "d": 4, "e": 1, "f": 7}


def assert_einsum(net: Net, equation: str, *names: str, onnxruntimes: bool = True) -> Code:
    """By rules, and what numpy gives; onnxruntime too, where it takes the form."""
    net.outputs = [net.op("Einsum", *names, equation=equation)]
    code = assert_right(net) if onnxruntimes else compiled(net.proto())
    want = np.einsum(equation, *(net.inputs[name].astype(np.float64) for name in names))
    got = computed(code, net.proto(), net.inputs)
    assert_same(got, [want.astype(got[0].dtype)])
    assert not code.fallbacks
    return code


@st.composite
def equations(draw: Draw) -> tuple[str, list[tuple[int, ...]], int]:
    """An equation, its operands' shapes and a seed."""
    letters = st.lists(st.sampled_from(sorted(SIZES)), min_size=0, max_size=4)
    count = one_of(draw, 2, 1, 3)
    dots = draw(st.booleans())
    terms, shapes = [], []
    wide = (2, 3)[: one_of(draw, 1, 2, 0)]
    for _ in range(count):
        term = draw(letters)
        among = wide if dots else ()
        place = draw(st.integers(0, len(term)))
        narrow = tuple(n if draw(st.integers(0, 4)) else 1 for n in among)
        sizes = [SIZES[each] for each in term]
        shapes.append((*sizes[:place], *narrow, *sizes[place:]))
        terms.append("".join(term[:place]) + "..." * dots + "".join(term[place:]))
    equation = ",".join(terms)
    if draw(st.booleans()):
        every = sorted(set(equation) - set(".,"))
        kept = draw(st.lists(st.sampled_from(every), unique=True)) if every else []
        equation += "->" + "..." * dots + "".join(kept)
    return equation, shapes, draw(SEEDS)


@sweep(40)
@given(equations())
def test_any_equation_is_numpys(case: tuple[str, list[tuple[int, ...]], int]) -> None:
    """Letters repeated within a term, those of one operand alone, ellipses, no result named."""
    equation, shapes, seed = case
    net = Net(seed)
    assert_einsum(net, equation, *(net.input(*each) for each in shapes), onnxruntimes=False)


ONNXRUNTIMES = {
    "bij,bjk->bik": [(2, 3, 4), (2, 4, 5)],
    "bhqd,bhkd->bhqk": [(2, 3, 4, 5), (2, 3, 6, 5)],
    "bhqk,bhkd->bqhd": [(2, 3, 4, 5), (2, 3, 5, 6)],
    "bqhd,bkhd->bhqk": [(2, 4, 3, 5), (2, 6, 3, 5)],
    "bhwc,hkc->bhwk": [(2, 3, 4, 5), (3, 6, 5)],
    "ij,jk": [(3, 4), (4, 5)],
    "...ii->...i": [(2, 4, 4)],
    "i,j->ij": [(3,), (4,)],
    "i,i->": [(5,), (5,)],
    "ij->": [(3, 5)],
    "bnts,btsk,bnk->nk": [(2, 3, 4, 5), (2, 4, 5, 6), (2, 3, 6)],
    "...ij,...jk->...ik": [(2, 1, 3, 4), (1, 3, 4, 5)],
}


@pytest.mark.parametrize("equation", ONNXRUNTIMES)
def test_equations_of_networks_are_onnxruntimes(equation: str) -> None:
    net = Net(0)
    assert_einsum(net, equation, *(net.input(*each) for each in ONNXRUNTIMES[equation]))


@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_products_of_other_types(dtype: str) -> None:
    net = Net(0)
    x, y = net.input(3, 4, dtype=dtype), net.input(4, 5, dtype=dtype)
    net.outputs = [net.op("Einsum", x, y, equation="ij,jk->ki")]
    assert_right(net)


def test_attention_that_is_written_with_letters_is_one_kernel() -> None:
    net = Net(0)
    q, k, v = (net.input(1, 9, 2, 8) for _ in range(3))
    scores = net.op("Einsum", q, k, equation="bqhd,bkhd->bhqk")
    shares = net.op("Softmax", net.op("Mul", scores, np.array(0.35, np.float32)), axis=-1)
    net.outputs = [net.op("Einsum", shares, v, equation="bhqk,bkhd->bqhd")]
    assert "attention" in {kernel.rule for kernel in assert_right(net).kernels}


def test_weights_are_those_of_one_product() -> None:
    """The keys' projection of an attention layer: weights of heads, whichever operand they are."""
    for turned in (False, True):
        net = Net(0)
        x, w = net.input(1, 9, 16), net.random(16, 4, 8)
        given_ = (w, x) if turned else (x, w)
        equation = "hnd,bsh->bsnd" if turned else "bsh,hnd->bsnd"
        net.outputs = [net.op("Einsum", *given_, equation=equation)]
        assert {kernel.rule for kernel in assert_right(net).kernels} == {"gemm"}
