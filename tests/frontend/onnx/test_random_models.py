# SPDX-License-Identifier: Apache-2.0
"""Random small ONNX models: they load to one graph, and split alike at every downset."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, helper

import splitc
from splitc.bundle.golden import seeded_inputs
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from tests.frontend.nets import Array, model, value
from tests.frontend.splitting import assert_split_equals, run_plain

SIDE = 3
MAX_CUTS = 40


@st.composite
def models(draw: st.DrawFn) -> ModelProto:
    """Up to eight layers over images of some channels; constants shared or computed."""
    channels = {f"x{k}": draw(st.integers(1, 3)) for k in range(draw(st.integers(1, 2)))}
    inputs = [value(name, (1, c, SIDE, SIDE)) for name, c in channels.items()]
    weights: dict[str, Array] = {"shift": np.full((1, 1, 1, 1), 0.25, np.float32)}
    nodes: list[NodeProto] = [helper.make_node("Neg", ["shift"], ["minus"], "constant")]
    for k in range(draw(st.integers(1, 8))):
        op = draw(st.sampled_from(("Add", "Relu", "Conv", "Concat", "Split", "Shift", "Mul")))
        source = draw(st.sampled_from(sorted(channels)))
        like = sorted(name for name in channels if channels[name] == channels[source])
        other = draw(st.sampled_from(like))
        name = draw(st.sampled_from(("", f"n{k}", "n")))
        made = {f"t{k}": channels[source]}
        if op == "Conv":
            kernel = f"w{draw(st.integers(1, 3))}_{channels[source]}"
            made = {f"t{k}": int(kernel[1])}
            shape = (made[f"t{k}"], channels[source], 1, 1)
            ramp = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32)
            weights.setdefault(kernel, ramp.reshape(shape))
            node = helper.make_node("Conv", [source, kernel], [*made], name)
        elif op == "Concat":
            made = {f"t{k}": channels[source] + channels[other]}
            node = helper.make_node("Concat", [source, other], [*made], name, axis=1)
        elif op == "Split" and channels[source] > 1:
            made = {f"t{k}": 1, f"t{k}_rest": channels[source] - 1}
            weights[f"sizes{k}"] = np.array([*made.values()], np.int64)
            node = helper.make_node("Split", [source, f"sizes{k}"], [*made], name, axis=1)
        elif op in ("Add", "Mul"):
            node = helper.make_node(op, [source, other], [*made], name)
        elif op == "Shift":
            operand = draw(st.sampled_from(("shift", "minus")))
            node = helper.make_node("Add", [source, operand], [*made], name)
        else:
            node = helper.make_node("Relu", [source], [*made], name)
        nodes.append(node)
        channels |= made
    read = {name for node in nodes for name in node.input}
    results = [n for n in channels if n not in read and not n.startswith("x")]
    inner = [n for n in channels if n in read and n.startswith("t")]
    results += draw(st.lists(st.sampled_from(inner or results), max_size=1))
    outputs = [value(n, (1, channels[n], SIDE, SIDE)) for n in dict.fromkeys(results)]
    order = draw(st.permutations(nodes))
    return model(order, inputs, outputs, weights)


def cuts(graph: LayerGraph) -> Iterator[Cut]:
    """Every downset that holds the inputs and leaves both sides a layer, up to a number."""
    found = [frozenset(range(graph.input_count))]
    for i in range(graph.input_count, len(graph)):
        needs = graph.predecessors[i]
        found += [s | {i} for s in found if all(j in s for j in needs)]
    proper = [cut for cut in (Cut.of(graph, s) for s in found) if cut.why_not() is None]
    yield from proper[:: max(1, len(proper) // MAX_CUTS)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(models())
def test_a_random_model_loads_to_one_graph_and_splits_alike_at_every_downset(
    proto: ModelProto,
) -> None:
    loaded = splitc.load(proto, simplify=False)
    again = splitc.load(ModelProto.FromString(proto.SerializeToString()), simplify=False)
    assert str(again.graph) == str(loaded.graph)
    assert again.digest == loaded.digest
    assert splitc.load(loaded.proto, simplify=False).graph == loaded.graph
    feed = seeded_inputs(loaded.graph.inputs, 0)
    nameless = ModelProto.FromString(proto.SerializeToString())
    for node in nameless.graph.node:  # onnxruntime does not take names twice
        node.name = ""
    source = run_plain(nameless, feed)
    whole = run_plain(loaded.proto, feed)
    for name, array in source.items():
        np.testing.assert_array_equal(whole[name], array)
    assert_split_equals(loaded, list(cuts(loaded.graph)), feed, whole)
