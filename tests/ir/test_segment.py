# SPDX-License-Identifier: Apache-2.0
"""Segments of nested cuts: they share out the layers, and run in order they are the network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import splitc
from splitc.errors import IllegalCutError, SplitcError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.layout import Layout, maps_of
from splitc.ir.model import GraphModel, Model
from splitc.ir.segment import segments
from splitc.ir.text import parse_graph
from tests.frontend.splitting import assert_valid, run_plain
from tests.random_networks.network import Network
from tests.random_networks.strategy import networks
from tests.strategies import graphs, nested_cuts

DIAMOND = """
%x = input() : 1x4
%k = input() : 1x2
%a = conv(%x) : 1x8
%l = relu(%a) : 1x8
%r = conv(%a, %k) : 1x2
%s = add(%l, %r) : 1x8
%y = relu(%s) : 1x8
return %l, %y
"""


@given(graphs(), st.data())
def test_segments_share_out_the_layers_and_read_what_was_made_before(
    graph: LayerGraph, data: st.DataObject
) -> None:
    cuts = data.draw(nested_cuts(graph))
    found = segments(graph, cuts)
    assert len(found) == len(cuts) + 1
    layers = [name for one in found for name in one.layers]
    assert sorted(layers) == sorted(la.name for la in graph.layers if not la.is_input)
    known = {tensor.name for tensor in graph.inputs}
    results: list[str] = []
    for one in found:
        inside = {t.name for name in one.layers for t in graph.layer(name).outputs}
        assert {t.name for t in one.reads} <= known
        needed = {n for name in one.layers for n in graph.layer(name).inputs} - inside
        assert needed <= {t.name for t in one.reads}
        assert {t.name for t in one.sends} <= (inside if one.layers else known)
        results += [t.name for t in one.results]
        known |= {t.name for t in one.makes}
    assert sorted(results) == sorted(set(graph.outputs))
    for cut, upto in zip(cuts, range(1, len(found)), strict=True):
        read = {t.name for one in found[upto:] for t in one.reads}
        sent = {t.name for one in found[:upto] for t in one.sends}
        boundary = {t.name for t in cut.boundary}
        assert boundary == read & (sent | {t.name for t in graph.inputs})


@given(graphs(), st.data())
def test_extracted_bare_graphs_hold_the_layers_of_their_segments(
    graph: LayerGraph, data: st.DataObject
) -> None:
    for one in segments(graph, data.draw(nested_cuts(graph))):
        part = GraphModel(graph).extract(one).graph
        assert [t.name for t in part.inputs] == [t.name for t in one.reads]
        assert part.outputs == tuple(t.name for t in one.makes)
        assert [la.origin for la in part.layers if not la.is_input] == list(one.layers)


@settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
@given(networks(), st.data())
def test_extracted_onnx_segments_run_in_order_give_onnxruntimes_values_of_the_whole(
    network: Network, data: st.DataObject
) -> None:
    try:
        model = splitc.load(network.proto(), simplify=False)
    except SplitcError:
        assume(False)
        return
    cuts = data.draw(nested_cuts(model.graph))
    known = dict(network.feed)
    for one in segments(model.graph, cuts):
        part = model.extract(one)
        assert_valid(part)
        assert [*part.graph.inputs] == [*one.reads]
        assert [*part.graph.output_tensors] == [*one.makes]
        known |= run_plain(part.proto, {t.name: known[t.name] for t in one.reads})
    for name, value in run_plain(model.proto, network.feed).items():
        np.testing.assert_array_equal(known[name], value, err_msg=name)


def in_order(model: Model, feed: dict[str, np.ndarray], *names: str) -> dict[str, np.ndarray]:
    """What a network's segments make, maps channels-last in between."""
    cuts = [Cut.after(model.graph, [name]) for name in names]
    layouts: dict[str, Layout] = {}
    for cut in cuts:
        layouts |= maps_of(cut)
    assert layouts
    known = dict(feed)
    for one in segments(model.graph, cuts):
        known |= model.extract(one, layouts).run({t.name: known[t.name] for t in one.reads})
    for tensor in layouts:
        n, c, height, width = model.graph.tensors[tensor].static_shape
        assert known[tensor].shape == (n, height, width, c)
    return known


def test_a_torch_modules_segments_share_its_weights_and_give_its_values() -> None:
    pytest.importorskip("torch")
    from splitc.frontend.torch import TorchModel
    from tests.frontend.torch.nets import build, example

    model = splitc.load(build("resnet-b"), example())
    assert isinstance(model, TorchModel)
    feed = {"x": example().numpy()}
    known = in_order(model, feed, "layer1.0.relu.2", "layer1.1.relu.2", "layer2.0.relu.2")
    for name, value in model.run(feed).items():
        np.testing.assert_array_equal(known[name], value, err_msg=name)
    own = {id(each) for each in model.module.parameters()}
    found = segments(model.graph, [Cut.after(model.graph, ["layer1.0.relu.2"])])
    for one in found:
        part = model.extract(one)
        assert {id(each) for each in part.module.parameters()} <= own


def test_one_cut_makes_head_and_tail_and_none_the_whole() -> None:
    graph = parse_graph(DIAMOND)
    head, tail = segments(graph, [Cut.after(graph, ["l"])])
    assert (head.name, head.layers) == ("head", ("a", "l"))
    assert [t.name for t in head.reads] == ["x", "k"]
    assert [t.name for t in head.sends] == ["a", "l"]
    assert [t.name for t in head.results] == ["l"]
    assert [t.name for t in head.makes] == ["a", "l"]
    assert (tail.name, tail.layers) == ("tail", ("r", "s", "y"))
    assert [t.name for t in tail.reads] == ["k", "a", "l"]
    assert [t.name for t in tail.makes] == ["y"]
    (whole,) = segments(graph, [])
    assert (whole.name, len(whole.layers)) == ("whole", 5)


@pytest.mark.parametrize(
    ("cuts", "what", "why"),
    [
        (("y",), "cannot cut after 'y'", "would be empty"),
        (("l", "r"), "cannot follow the one after 'l'", "layer 'l' is in the first head only"),
        (("s", "l"), "cannot follow the one after 's'", "in the first head only"),
        (("l", "l"), "cannot follow", "they are the same cut"),
    ],
)
def test_cuts_that_make_no_segments_are_refused(cuts: tuple[str, ...], what: str, why: str) -> None:
    graph = parse_graph(DIAMOND)
    with pytest.raises(IllegalCutError, match=what) as caught:
        segments(graph, [Cut.after(graph, [name]) for name in cuts])
    assert why in caught.value.why
