# SPDX-License-Identifier: Apache-2.0
"""The zoo: nine networks whose numbers mean something."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ValueInfoProto

import splitc
from splitc import zoo
from splitc.bundle.golden import seeded_inputs
from splitc.errors import UsageError
from splitc.runtime.ort import Session

SMALL = ["densenet121", "inception_v1", "inception_v2", "shufflenet", "squeezenet"]


@pytest.mark.parametrize("name", SMALL)
def test_results_are_neither_flat_nor_saturated_and_depend_on_the_input(name: str) -> None:
    model = splitc.load(zoo.build(name))
    feeds = [seeded_inputs(model.graph.inputs, seed) for seed in (1, 2)]
    first, second = (next(iter(model.run(feed).values())).ravel() for feed in feeds)
    logits = first if first.min() < 0 else np.log(first)
    assert 0.3 < float(logits.std()) < 3
    assert float(np.abs(first - second).max()) > 1e-4 * float(np.ptp(first))


@pytest.mark.parametrize("name", [*SMALL, "resnet50"])
def test_numbers_between_layers_are_held_by_float16(name: str) -> None:
    """As in trained networks: in a residual one whose blocks each doubled the variance, not so."""
    proto = zoo.build(name)
    results = {v.name for v in proto.graph.output}
    made = [n for node in proto.graph.node for n in node.output if n and n not in results]
    proto.graph.output.extend(ValueInfoProto(name=n) for n in made)
    feed = seeded_inputs(splitc.load(zoo.build(name)).graph.inputs, 1)
    values = Session(proto.SerializeToString()).run(made, feed)
    largest = max(float(np.abs(v).max()) for v in values if v.dtype == np.float32 and v.size)
    assert largest < 0.5 * float(np.finfo(np.float16).max)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    first, again, other = (
        zoo.build("squeezenet", seed=seed).SerializeToString(deterministic=True)
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_an_unknown_network_gets_the_nearest_names() -> None:
    with pytest.raises(UsageError, match="no network 'resnet'") as caught:
        zoo.build("resnet")
    assert "resnet50" in caught.value.hint
