# SPDX-License-Identifier: Apache-2.0
"""The zoo: nine networks whose numbers mean something."""

from __future__ import annotations

import numpy as np
import pytest

import splitc
from splitc import zoo
from splitc.bundle.golden import seeded_inputs
from splitc.errors import UsageError

SMALL = ["densenet121", "inception_v1", "inception_v2", "shufflenet", "squeezenet"]


@pytest.mark.parametrize("name", SMALL)
def test_results_are_neither_flat_nor_saturated_and_depend_on_the_input(name: str) -> None:
    model = splitc.load(zoo.build(name))
    feeds = [seeded_inputs(model.graph.inputs, seed) for seed in (1, 2)]
    first, second = (next(iter(model.run(feed).values())).ravel() for feed in feeds)
    logits = first if first.min() < 0 else np.log(first)
    assert 0.3 < float(logits.std()) < 3
    assert float(np.abs(first - second).max()) > 1e-4 * float(np.ptp(first))


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
