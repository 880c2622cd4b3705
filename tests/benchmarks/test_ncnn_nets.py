# SPDX-License-Identifier: Apache-2.0
"""Networks with weights are those whose layer graphs boards are held against."""

from __future__ import annotations

import pytest
from ncnn_nets import NCNN_NETS

import splitc
from nets import NETS, macs


@pytest.mark.parametrize("name", sorted(set(NCNN_NETS) - {"vgg16"}))
def test_a_network_has_the_arithmetic_and_the_weights_of_its_layer_graph(name: str) -> None:
    made, known = splitc.load(NCNN_NETS[name](0)).graph, NETS[name]()
    assert macs(made) == macs(known)
    weights = [sum(layer.param_bytes for layer in graph.layers) for graph in (made, known)]
    assert weights[0] == weights[1]
