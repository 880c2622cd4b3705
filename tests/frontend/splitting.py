# SPDX-License-Identifier: Apache-2.0
"""What the tests of splitting share: cuts to try, and what a head and a tail must fulfil."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto

from splitc.errors import NoLegalCutError
from splitc.frontend.onnx.form import reads
from splitc.frontend.onnx.model import OnnxModel
from splitc.frontend.onnx.shapes import skeleton
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.link.link import Link
from splitc.search.enumerate import single_cuts
from splitc.search.find import find_cuts

Array = np.ndarray[Any, np.dtype[Any]]
LINKS = ("200kbit", "20Mbit", "1Gbit")


def run_plain(proto: ModelProto, feed: Mapping[str, Array]) -> dict[str, Array]:
    """Run node by node, without onnxruntime's fusions: the same node gives the same bits."""
    ort: Any = onnxruntime
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in proto.graph.output]
    given = {value.name: feed[value.name] for value in proto.graph.input}
    return dict(zip(names, session.run(names, given), strict=True))


def single(graph: LayerGraph) -> list[Cut]:
    """Every cut after one layer that no edge passes by, where what crosses has a size."""
    return [cut for cut in single_cuts(graph) if cut.why_not() is None]


def several(model: OnnxModel, count: int, seed: int = 0) -> list[Cut]:
    """Cuts through several tensors: those the min-cut finds, and random downsets."""
    found = [*_min_cuts(model), *_random_cuts(model.graph, count, seed)]
    unique = {(cut.prefix, cut.extra): cut for cut in found if len(cut.boundary) > 1}
    return list(unique.values())


def _min_cuts(model: OnnxModel) -> Iterator[Cut]:
    for bandwidth in LINKS:
        link = Link(bandwidth, rtt="1ms")
        try:
            table = find_cuts(model, head="rpi4", tail="x86-64-v3", link=link)
        except NoLegalCutError:
            continue
        yield from (row.cut for row in table.usable if row.kind == "multi")


def _random_cuts(graph: LayerGraph, count: int, seed: int) -> Iterator[Cut]:
    rng = np.random.Generator(np.random.PCG64(seed))
    names = [layer.name for layer in graph.layers[graph.input_count :]]
    for _ in range(20 * count):
        if count == 0 or not names:
            return
        # Few layers, or a head of nearly everything would be the usual draw.
        chosen = rng.choice(names, size=int(rng.integers(1, 4)))
        cut = Cut.after(graph, [str(name) for name in chosen])
        if cut.why_not() is None and len(cut.boundary) > 1:
            count -= 1
            yield cut


def assert_valid(part: OnnxModel) -> None:
    """The part is a model of its own: checked in full, nothing unused, graph and nodes agree."""
    proto = part.proto
    onnx.checker.check_model(skeleton(proto), full_check=True)  # pyright: ignore[reportUnknownMemberType]
    read = {name for node in proto.graph.node for name in reads(node)}
    results = {value.name for value in proto.graph.output}
    unused = [t.name for t in proto.graph.initializer if t.name not in read]
    assert not unused, f"initialisers nobody reads: {unused}"
    dead = [n.name for n in proto.graph.node if not {*n.output} & (read | results)]
    assert not dead, f"nodes nobody reads: {dead}"
    layers = {layer.name for layer in part.graph.layers}
    assert layers <= {n.name for n in proto.graph.node} | {v.name for v in proto.graph.input}


def assert_parts(model: OnnxModel, cut: Cut, head: OnnxModel, tail: OnnxModel) -> None:
    """Head and tail share out the layers; what stands in both are constants both read."""
    assert_valid(head)
    assert_valid(tail)
    graph = model.graph
    made = {t.name for layer in graph.layers for t in layer.outputs}
    outputs = [{o for n in part.proto.graph.node for o in n.output if o} for part in (head, tail)]
    assert not outputs[0] & outputs[1] & made, "a layer is computed twice"
    inputs = {t.name for t in graph.inputs}
    assert (outputs[0] | outputs[1]) & made == made - inputs, "a layer is lost"
    assert [t.name for t in head.graph.inputs] == [t.name for t in graph.inputs]
    assert {*head.graph.outputs} | {*tail.graph.outputs} >= {*graph.outputs}
    assert [head.graph.tensors[t.name] for t in cut.boundary] == [*cut.boundary]
    assert [*tail.graph.inputs] == [*cut.boundary]


def assert_split_equals(
    model: OnnxModel, cuts: Sequence[Cut], feed: Mapping[str, Array], whole: Mapping[str, Array]
) -> None:
    """At every cut: the parts are valid, and tail after head gives the whole's very bits."""
    for cut in cuts:
        head, tail = model.split(cut)
        assert_parts(model, cut, head, tail)
        sent = run_plain(head.proto, feed)
        got = {**sent, **run_plain(tail.proto, {**feed, **sent})}
        for name, value in whole.items():
            np.testing.assert_array_equal(got[name], value, err_msg=f"{name} cut at {cut.name}")


def assert_close(got: Mapping[str, Array], whole: Mapping[str, Array], tolerance: float) -> None:
    """Equal up to rounding, relative to the largest magnitude of each result."""
    assert set(got) == set(whole)
    for name, value in whole.items():
        assert got[name].shape == value.shape
        assert got[name].dtype == value.dtype
        if value.dtype.kind != "f":
            np.testing.assert_array_equal(got[name], value, err_msg=name)
        elif value.size:
            finite = np.abs(value[np.isfinite(value)])
            scale = float(finite.max()) if finite.size else 1.0
            np.testing.assert_allclose(
                got[name], value, rtol=tolerance, atol=tolerance * max(scale, 1e-30), err_msg=name
            )
