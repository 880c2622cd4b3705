# SPDX-License-Identifier: Apache-2.0
"""The benchmark networks are the published ones: their totals, and zoo graphs layer by layer."""

from __future__ import annotations

from collections import Counter

import pytest

import splitc
from benchmarks.nets import (
    NETS,
    googlenet,
    macs,
    mobilenet_v2,
    resnet50,
    squeezenet,
    vgg19,
)
from splitc import LayerGraph, zoo

# Multiply-adds in millions, rounded as they are commonly given; 1500 to 1600 for GoogLeNet.
PUBLISHED_MMACS = {
    "mobilenet": 569,
    "shufflenet_v2": 146,
    "efficientnet_b0": 390,
    "googlenet": 1550,
    "resnet18": 1820,
    "alexnet": 724,
    "resnet50": 3800,
    "vgg16": 15500,
}
PUBLISHED_MILLION_PARAMETERS = {
    "squeezenet": 1.24,
    "mobilenet": 4.2,
    "mobilenet_v2": 3.5,
    "shufflenet_v2": 2.3,
    "efficientnet_b0": 5.3,
    "googlenet": 7.0,
    "resnet18": 11.7,
    "alexnet": 61.0,
    "resnet50": 25.6,
    "vgg16": 138.4,
}


@pytest.mark.parametrize(("name", "million"), PUBLISHED_MMACS.items())
def test_multiply_adds_are_the_published_ones(name: str, million: float) -> None:
    assert macs(NETS[name]()) / 1e6 == pytest.approx(million, rel=0.03)


@pytest.mark.parametrize(
    ("graph", "million"),
    [
        (squeezenet(224, last_pad=0), 349),
        (mobilenet_v2(expand_first=False), 300),
        (resnet50(stride_in_3x3=True), 4090),
        (vgg19(), 19630),
    ],
)
def test_the_common_variants_have_the_published_multiply_adds(
    graph: LayerGraph, million: float
) -> None:
    assert macs(graph) / 1e6 == pytest.approx(million, rel=0.01)


@pytest.mark.parametrize(("name", "million"), PUBLISHED_MILLION_PARAMETERS.items())
def test_parameters_are_the_published_ones(name: str, million: float) -> None:
    weights = sum(layer.param_bytes for layer in NETS[name]().layers) // 4
    assert weights / 1e6 == pytest.approx(million, rel=0.03)


@pytest.mark.parametrize("name", NETS)
def test_every_network_ends_in_a_thousand_classes(name: str) -> None:
    assert NETS[name]().output_tensors[0].shape == (1, 1000)


@pytest.mark.parametrize(
    ("graph", "zoo_name"),
    [(resnet50(stride_in_3x3=True), "resnet50"), (googlenet(ceil=False), "inception_v1")],
)
def test_zoo_networks_have_the_same_layers(graph: LayerGraph, zoo_name: str) -> None:
    loaded = splitc.load(zoo.build(zoo_name)).graph
    assert _work(graph) == _work(loaded)


def _work(graph: LayerGraph) -> Counter[tuple[str, int, int, tuple[int | None, ...] | None]]:
    """Kind, FLOPs, bytes and shape of every layer that computes.

    Pools aside: inception_v1 averages its 6x6 maps as 7x7 ones with a border of zeros.
    """
    return Counter(
        (layer.kind, layer.flops, layer.param_bytes, layer.outputs[0].shape)
        for layer in graph.layers
        if layer.flops and layer.kind != "pool"
    )
