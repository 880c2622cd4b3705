# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Before loops are written: views, fusion, and the memory plan."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import splitc
from splitc import zoo
from splitc.cost.board import load_board
from splitc_targets.graph.expression import text
from splitc_targets.graph.graph import Graph
from splitc_targets.graph.views import Buffer, View, packed
from splitc_targets.pipeline import plan_module
from splitc_targets.plan import arena
from splitc_targets.plan.planner import Plan, Step
from splitc_targets.transforms.fuse import fuse
from splitc_targets.transforms.simplify import simplify
from splitc_targets.tvm import adapter
from splitc_targets.tvm.reader import read
from tests.targets.nets import Net

SIZES = st.sampled_from((1, 2, 3, 4, 6))


@st.composite
def arrays(draw: st.DrawFn) -> tuple[np.ndarray, View]:
    """A numpy array under a few slices, permutations and broadcasts, and the same view."""
    shape = tuple(draw(st.lists(SIZES, min_size=1, max_size=4)))
    array = np.arange(math.prod(shape)).reshape(shape)
    view = View(Buffer(array.size, "int64"), 0, shape, packed(shape))
    for _ in range(draw(st.integers(0, 3))):
        axis = draw(st.integers(0, array.ndim - 1))
        form = draw(st.sampled_from(("slice", "permute", "broadcast")))
        if form == "permute":
            axes = tuple(draw(st.permutations(range(array.ndim))))
            array, view = array.transpose(axes), view.permuted(axes)
        elif form == "slice":
            start, step = draw(st.integers(0, array.shape[axis] - 1)), draw(st.integers(1, 2))
            count = len(range(start, array.shape[axis], step))
            array = array[(slice(None),) * axis + (slice(start, None, step),)]
            view = view.sliced(axis, start, count, step)
        elif array.size < 300:
            shape = (draw(st.integers(1, 2)), *array.shape)
            array, view = np.broadcast_to(array, shape), view.broadcast(shape)
    return array, view


def elements(view: View) -> np.ndarray:
    """The buffer's positions that a view reads, in its shape."""
    places = np.full(view.shape, view.offset)
    for axis, step in enumerate(view.strides):
        steps = np.arange(view.shape[axis]) * step
        places = places + steps.reshape([-1 if d == axis else 1 for d in range(len(view.shape))])
    return places


def factors(n: int) -> list[int]:
    """Prime factors."""
    for p in range(2, n + 1):
        if n % p == 0:
            return [p, *factors(n // p)]
    return []


@settings(deadline=None, max_examples=300)
@given(arrays(), st.data())
def test_reshaping_moves_nothing_where_numpy_moves_nothing(
    pair: tuple[np.ndarray, View], data: st.DataObject
) -> None:
    array, view = pair
    np.testing.assert_array_equal(elements(view), array)
    primes = data.draw(st.permutations(factors(array.size)))
    ends = sorted(data.draw(st.lists(st.integers(0, len(primes)), max_size=4)))
    cuts = [0, *ends, len(primes)]
    wanted = tuple(math.prod(primes[a:b]) for a, b in itertools.pairwise(cuts))
    found = view.reshaped(wanted)
    moved = array.reshape(wanted)
    if found is None:
        assert not np.shares_memory(moved, array)
    else:
        np.testing.assert_array_equal(elements(found), moved)
        assert found.span == int(elements(found).max()) - found.offset + 1


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(1, 5000), st.integers(0, 12), st.integers(0, 6)),
        min_size=1, max_size=25,
    )
)  # fmt: skip
def test_buffers_alive_together_never_share_memory(lives: list[tuple[int, int, int]]) -> None:
    buffers = [Buffer(size, "float32") for size, _, _ in lives]
    touched: list[list[View]] = [[] for _ in range(20)]
    for buffer, (size, first, length) in zip(buffers, lives, strict=True):
        for number in (first, first + length):
            touched[number].append(View(buffer, 0, (size,), (1,)))
    steps = [Step(k, lambda name: None, views, "r", "o", "s") for k, views in enumerate(touched)]
    found = arena.arrange(Plan(steps, [], [], True))
    assert found.live_bytes <= found.bytes
    for k, (a, (_, start, length)) in enumerate(zip(buffers, lives, strict=True)):
        assert found.at[a] % arena.ALIGNMENT == 0
        assert found.at[a] + 4 * a.size <= found.bytes
        for b, (_, other, more) in zip(buffers[:k], lives[:k], strict=True):
            if start <= other + more and other <= start + length:
                apart = found.at[a] + 4 * a.size <= found.at[b]
                assert apart or found.at[b] + 4 * b.size <= found.at[a]


@pytest.mark.parametrize("name", ["squeezenet", "inception_v1", "shufflenet", "densenet121"])
def test_a_networks_memory_is_close_to_what_it_must_be(name: str) -> None:
    model = splitc.load(zoo.build(name))
    plan = plan_module(adapter.lower(model.proto), load_board("host"))
    memory = arena.arrange(plan)
    assert plan.fallbacks == []
    assert memory.bytes <= 1.25 * memory.live_bytes


def fused(net: Net) -> Graph:
    """A model's graph as rules see it."""
    graph = read(adapter.lower(net.proto()))
    simplify(graph)
    fuse(graph)
    return graph


def words(graph: Graph) -> list[str]:
    """Its operations, with what was fused behind each."""
    return [
        node.op + (f": {text(node.attrs['expression'])}" if "expression" in node.attrs else "")
        for node in graph.nodes
    ]


def test_bias_residual_and_activation_run_behind_the_convolution() -> None:
    net = Net(0)
    x = net.input(1, 4, 5, 5)
    y = net.op("Conv", x, net.random(4, 4, 1, 1), net.random(4))
    net.outputs = [net.op("Relu", net.op("Add", x, y))]
    assert words(fused(net)) == ["nn.conv2d: maximum(add(x2, add(x0, x1)), 0)"]


def test_batch_normalisation_scales_the_weights_and_adds_one_vector() -> None:
    net = Net(0)
    y = net.op("Conv", net.input(1, 4, 5, 5), net.random(6, 4, 1, 1))
    given_ = [net.positive(6), net.random(6), net.random(6), net.positive(6)]
    net.outputs = [net.op("BatchNormalization", y, *given_)]
    assert words(fused(net)) == ["nn.conv2d: add(x0, x1)"]


def test_a_value_that_is_an_output_ends_the_fusion() -> None:
    net = Net(0)
    y = net.op("Conv", net.input(1, 4, 5, 5), net.random(6, 4, 1, 1))
    net.outputs = [y, net.op("Tanh", y)]
    assert words(fused(net)) == ["nn.conv2d: x0", "map: tanh(x0)"]


def test_a_value_that_another_kernel_reads_ends_the_fusion() -> None:
    net = Net(0)
    y = net.op("Conv", net.input(1, 4, 5, 5), net.random(4, 4, 1, 1))
    active = net.op("Relu", y)
    other = net.op("Conv", active, net.random(4, 4, 1, 1))
    net.outputs = [net.op("Add", active, other)]
    assert words(fused(net)) == ["nn.conv2d: maximum(x0, 0)", "nn.conv2d: add(x1, x0)"]


def test_a_diamond_of_elementwise_steps_is_one_kernel() -> None:
    net = Net(0)
    x = net.input(2, 7)
    net.outputs = [net.op("Mul", net.op("Sigmoid", x), x)]
    assert words(fused(net)) == ["map: multiply(sigmoid(x0), x0)"]


def test_a_bound_of_two_tensors_keeps_not_a_number_of_either() -> None:
    net = Net(0)
    net.outputs = [net.op("Max", net.input(2, 7), net.input(2, 7))]
    assert words(fused(net)) == ["map: larger(x0, x1)"]
