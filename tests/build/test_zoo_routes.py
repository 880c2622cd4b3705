# SPDX-License-Identifier: Apache-2.0
"""Every route of a bundle of each network of the zoo computes what the unsplit network does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from splitc import zoo
from splitc.build.describe import ways_of
from splitc.build.job import plan
from splitc.bundle.golden import Way, seeded_inputs
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.model import Network
from splitc.runtime.ort import Session
from tests.frontend.test_split_everywhere import build
from tests.helpers import save

CUTS = 4


def spread(graph: LayerGraph) -> list[str]:
    """Some of the layers that no edge passes by, from the first to the last."""
    points = [p for p in graph.cut_points if graph.input_count <= p < len(graph) - 1]
    found = [Cut.after(graph, [graph.layers[p].name]) for p in points]
    names = [cut.name for cut in found if cut.why_not() is None and len(cut.boundary) == 1]
    return [names[k * (len(names) - 1) // (CUTS - 1)] for k in range(CUTS)]


def through(way: Way, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The results of a route's parts, one after the other, by their references."""
    made = dict(feed)
    for step in way.before:
        made |= step.run(made)
    known = {t.name: made[t.name] for t in way.ready.cut.boundary}
    for step in way.behind:
        known |= step.run(known)
    return {name: {**known, **made}[name] for name in way.ready.model.graph.outputs}


def close(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(zoo.NAMES))
def test_every_route_gives_what_its_unsplit_network_gives(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import splitc

    path = save(build(name, tmp_path, monkeypatch), tmp_path / "net.onnx")
    model = splitc.load(path, simplify=False)
    feed = seeded_inputs(model.graph.inputs, 3)
    job = plan(
        model, cuts=spread(model.graph), bits=[8], batches=[seeded_inputs(model.graph.inputs, 4)],
        emit="onnx",
    )  # fmt: skip
    assert len(job.routes) == 2 * CUTS
    models: dict[str, Network] = {part.name: part.extract() for part in job.parts}
    outputs = model.graph.outputs
    whole = dict(zip(outputs, Session(path).run(outputs, feed), strict=True))
    for route, way in zip(job.routes, ways_of(job, models), strict=True):
        close(through(way, feed), whole if route.codec is None else route.ready.model.run(feed))
