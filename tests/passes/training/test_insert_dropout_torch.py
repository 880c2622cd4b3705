# SPDX-License-Identifier: Apache-2.0
"""The pass `insert-dropout` on PyTorch networks: masks, modes, the given model untouched."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

import splitc  # noqa: E402
from splitc.ir.chain import channel_layers  # noqa: E402
from splitc_passes.analyses.group_blocks import cut_points  # noqa: E402
from splitc_passes.layers.channel import transmitting  # noqa: E402
from splitc_passes.layers.link_dropout import LinkDropout  # noqa: E402
from splitc_passes.training.insert_dropout import InsertDropout  # noqa: E402
from tests.frontend.torch.nets import NETS, build, example  # noqa: E402


@pytest.mark.parametrize("name", NETS)
def test_graph_and_module_are_rewritten_alike_and_predictions_stay(name: str) -> None:
    model = splitc.load(build(name), example())
    points = [
        name
        for name in cut_points(model.graph, "exact")
        if len(model.graph.layer(name).outputs) == 1
    ]
    one = InsertDropout(cut=points[len(points) // 2])
    made = one(model)
    assert str(made.graph) == str(one(splitc.GraphModel(model.graph)).graph)
    feed = {model.graph.inputs[0].name: example().numpy()}
    before, after = model.run(feed), made.run(feed)
    assert list(before) == list(after)
    for key, array in before.items():
        np.testing.assert_array_equal(array, after[key])
    assert str(made.bypass(channel_layers(made.graph)).graph) == str(model.graph)


def test_the_masks_are_seeded_and_scaled_and_off_in_eval_mode() -> None:
    layer, x = LinkDropout(0.4, seed=5), torch.ones(2, 50, 50)
    layer.train()
    first = layer(x)
    layer.reseed(5)
    torch.testing.assert_close(layer(x), first, rtol=0, atol=0)
    assert first.unique().tolist() == pytest.approx([0.0, 1 / 0.6])
    assert (first == 0).float().mean().item() == pytest.approx(0.4, abs=0.03)
    layer.eval()
    assert layer(x) is x
    with transmitting(layer, seed=5):
        torch.testing.assert_close(layer(x), first, rtol=0, atol=0)
    assert layer(x) is x


def test_a_batch_can_mix_rates() -> None:
    layer = LinkDropout(torch.tensor([0.0, 0.9]))
    made = layer(torch.ones(2, 40, 40))
    assert (made[0] == 1).all()
    assert (made[1] == 0).float().mean().item() == pytest.approx(0.9, abs=0.05)


def test_training_the_rewritten_module_trains_the_given_one() -> None:
    module = build("resnet-b")
    made = InsertDropout(cut="layer1.1.relu.2")(splitc.load(module, example()))
    mine = {id(p) for p in module.parameters()}
    assert mine == {id(p) for p in made.module.parameters()}
