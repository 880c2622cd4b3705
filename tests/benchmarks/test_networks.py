# SPDX-License-Identifier: Apache-2.0
"""The networks to compile are the published ones, and compute something of a sane scale."""

from __future__ import annotations

import numpy as np
import pytest

import splitc
from benchmarks.nets import macs
from benchmarks.networks import NAMES, OWN, build
from splitc import zoo
from splitc.bundle.golden import seeded_inputs

PUBLISHED_MMACS = {
    "mobilenet_v2": 300,
    "resnet18": 1814,
    "efficientnet_b0": 390,
    "vit_s16": 4600,
    # Half the width of 64 to 1024 channels, which takes 48.2e9: a quarter, the first layer a half.
    "unet": 12073,
}
PUBLISHED_MILLION_PARAMETERS = {
    "mobilenet_v2": 3.5,
    "resnet18": 11.7,
    "efficientnet_b0": 5.3,
    "vit_s16": 22.05,
    "unet": 31.0 / 4,
}


def test_the_zoo_and_five_more_are_there() -> None:
    assert list(NAMES) == [*zoo.NAMES, *PUBLISHED_MMACS]


@pytest.mark.parametrize("name", OWN)
def test_size_is_as_published_and_results_have_a_sane_scale(name: str) -> None:
    model = splitc.load(build(name))
    counted = macs(model.graph) / 1e6
    million = sum(layer.param_bytes for layer in model.graph.layers) / 4e6
    print(f"{name}: {counted:.0f} million multiply-adds, {million:.2f} million parameters")
    assert counted == pytest.approx(PUBLISHED_MMACS[name], rel=0.03)
    assert million == pytest.approx(PUBLISHED_MILLION_PARAMETERS[name], rel=0.03)
    (result,) = model.run(seeded_inputs(model.graph.inputs, 0)).values()
    assert 0.05 < float(np.std(result)) < 20


def test_the_same_seed_gives_the_same_weights() -> None:
    assert build("mobilenet_v2") == build("mobilenet_v2")
    assert build("mobilenet_v2") != build("mobilenet_v2", seed=1)
