# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Maps are convolved by single pixels before they are enlarged: fewer products, the same result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from splitc_targets.pipeline import prepared
from splitc_targets.tvm import adapter
from tests.targets.nets import Net, assert_right

LINEAR = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
           "nearest_mode": "floor"}  # fmt: skip


def resized(net: Net, x: str, height: int, width: int, **attrs: str) -> str:
    """A map of other sides."""
    images, channels, *_ = net.shape(x)
    sizes = np.array([images, channels, height, width], np.int64)
    return net.op("Resize", x, "", "", sizes, **(attrs or LINEAR))


def pointwise(net: Net, x: str, channels: int, **attrs: list[int]) -> str:
    """A convolution of single pixels, with a bias."""
    return net.op("Conv", x, net.random(channels, net.shape(x)[1], 1, 1), net.random(channels),
                  **attrs)  # fmt: skip


def beside_others(net: Net) -> str:
    """Maps of three sizes side by side, as decoders of segmenting networks have them."""
    small, middle, *large = (net.input(2, 6, side, side + 1) for side in (3, 6, 12, 12))
    parts = [large[0], resized(net, small, 12, 13), resized(net, middle, 12, 13, **NEAREST)]
    return net.op("Relu", pointwise(net, net.op("Concat", *parts, large[1], axis=1), 5))


def all_enlarged(net: Net) -> str:
    parts = [resized(net, net.input(1, 8, side, side), 10, 10) for side in (1, 5)]
    return pointwise(net, net.op("Concat", *parts, axis=1), 8)


def alone(net: Net) -> str:
    x = net.op("Relu", net.input(1, 7, 4, 4))
    return net.op("Sigmoid", pointwise(net, resized(net, x, 9, 11), 3))


def sides_of(net: Net) -> list[tuple[int, ...]]:
    """The sides of the maps that convolutions read."""
    graph = prepared(adapter.lower(net.proto()), None)
    return [node.args[0].shape[2:] for node in graph.nodes if node.op == "nn.conv2d"]


@pytest.mark.parametrize(
    ("network", "sides"),
    [
        (beside_others, [(3, 4), (6, 7), (12, 13)]),
        (all_enlarged, [(1, 1), (5, 5)]),
        (alone, [(4, 4)]),
    ],
)
def test_small_maps_are_convolved_before_they_are_enlarged(
    network: Callable[[Net], str], sides: list[tuple[int, ...]]
) -> None:
    net = Net(0)
    net.outputs = [network(net)]
    assert sorted(sides_of(net)) == sides
    assert_right(net)


def read_twice(net: Net) -> list[str]:
    x = resized(net, net.input(1, 8, 4, 4), 8, 8)
    return [pointwise(net, x, 4), net.op("Relu", x)]


def a_result(net: Net) -> list[str]:
    x = resized(net, net.input(1, 8, 4, 4), 8, 8)
    return [pointwise(net, x, 4), x]


def twice_in_one(net: Net) -> list[str]:
    x = resized(net, net.input(1, 8, 4, 4), 8, 8)
    return [pointwise(net, net.op("Concat", x, x, axis=1), 4)]


def more_channels(net: Net) -> list[str]:
    return [pointwise(net, resized(net, net.input(1, 4, 4, 4), 8, 8), 5)]


def strided(net: Net) -> list[str]:
    return [pointwise(net, resized(net, net.input(1, 8, 4, 4), 9, 9), 4, strides=[2, 2])]


def padded(net: Net) -> list[str]:
    return [pointwise(net, resized(net, net.input(1, 8, 4, 4), 8, 8), 4, pads=[1, 1, 1, 1])]


def wider_kernels(net: Net) -> list[str]:
    x = resized(net, net.input(1, 8, 4, 4), 8, 8)
    return [net.op("Conv", x, net.random(4, 8, 3, 3), pads=[1, 1, 1, 1])]


def side_by_side_rows(net: Net) -> list[str]:
    parts = [resized(net, net.input(1, 8, 4, 4), 8, 8), net.input(1, 8, 2, 8)]
    return [pointwise(net, net.op("Concat", *parts, axis=2), 4)]


@pytest.mark.parametrize(
    "network",
    [read_twice, a_result, twice_in_one, more_channels, strided, padded, wider_kernels,
     side_by_side_rows],
)  # fmt: skip
def test_maps_stay_enlarged_first_where_the_order_matters_or_does_not_pay(
    network: Callable[[Net], list[str]],
) -> None:
    net = Net(0)
    net.outputs = network(net)
    assert all(side != (4, 4) for side in sides_of(net))
    assert_right(net)


@pytest.mark.parametrize("attrs", [LINEAR, NEAREST, {**LINEAR, "mode": "cubic"}])
def test_resizing_to_the_same_size_is_no_operation(attrs: dict[str, str]) -> None:
    net = Net(0)
    net.outputs = [
        net.op("Relu", resized(net, net.op("Neg", net.input(1, 3, 5, 6)), 5, 6, **attrs))
    ]
    code = assert_right(net)
    assert all(kernel.rule not in ("sample", "fallback") for kernel in code.kernels)
