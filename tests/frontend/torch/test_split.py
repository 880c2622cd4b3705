# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""Splitting a PyTorch model: tail after head gives the whole's bits; weights are shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402

import splitc  # noqa: E402
from splitc.errors import IllegalCutError  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc.ir.cut import Cut  # noqa: E402
from splitc.ir.layout import Layouts, maps_of  # noqa: E402
from tests.frontend.splitting import single  # noqa: E402
from tests.frontend.torch.nets import NETS, build, example  # noqa: E402


def several(model: TorchModel, count: int) -> list[Cut]:
    """Random cuts through several tensors."""
    rng = np.random.Generator(np.random.PCG64(0))
    names = [layer.name for layer in model.graph.layers[model.graph.input_count :]]
    found: dict[str, Cut] = {}
    for _ in range(20 * count):
        chosen = rng.choice(names, size=int(rng.integers(1, 4)))
        cut = Cut.after(model.graph, [str(name) for name in chosen])
        if cut.why_not() is None and len(cut.boundary) > 1 and len(found) < count:
            found[cut.name] = cut
    return list(found.values())


def assert_splits(model: TorchModel, cut: Cut, layouts: Layouts | None = None) -> None:
    """The contract of the boundary, and the whole's very bits."""
    feed = splitc_feed(model)
    whole = model.run(feed)
    head, tail = model.split(cut, layouts)
    assert [t.name for t in head.graph.inputs] == [t.name for t in model.graph.inputs]
    assert [t.name for t in tail.graph.inputs] == [t.name for t in cut.boundary]
    if not layouts:
        assert [*tail.graph.inputs] == [*cut.boundary]
    sent = head.run(feed)
    got = {**sent, **tail.run({**feed, **sent})}
    for name, value in whole.items():
        np.testing.assert_array_equal(got[name], value, err_msg=f"{name} cut at {cut.name}")


def splitc_feed(model: TorchModel) -> dict[str, Any]:
    from splitc.bundle.golden import seeded_inputs

    return seeded_inputs(model.graph.inputs, 0)


@pytest.mark.parametrize("name", NETS)
def test_tail_after_head_gives_the_bits_of_the_whole_at_every_cut(name: str) -> None:
    model = splitc.load(build(name), example())
    cuts = single(model.graph)
    assert len(cuts) >= 5
    for cut in [*cuts, *several(model, 6)]:
        assert_splits(model, cut)


@pytest.mark.parametrize("name", ["resnet-b", "unet", "shufflenet"])
def test_maps_cross_channels_last_where_asked(name: str) -> None:
    model = splitc.load(build(name), example())
    turned = 0
    for cut in [*single(model.graph), *several(model, 4)]:
        maps = maps_of(cut)
        turned += len(maps)
        assert_splits(model, cut, maps)
        for tensor in maps:
            n, c, height, width = cut.graph.tensors[tensor].static_shape
            head, tail = model.split(cut, maps)
            assert head.graph.tensors[tensor].shape == (n, height, width, c)
            assert tail.graph.tensors[tensor].shape == (n, height, width, c)
    assert turned > 4


def test_parts_share_out_the_layers_and_the_weights() -> None:
    net = build("resnet-b")
    model = splitc.load(net, example())
    head, tail = model.split(Cut.after(model.graph, ["layer1.1.relu.2"]))
    names = [{x.name for x in m.graph.layers if not x.is_input} for m in (model, head, tail)]
    assert names[1] | names[2] == names[0]
    assert not names[1] & names[2]
    own = {id(t) for t in [*net.parameters(), *net.buffers()]}
    for part in (head, tail):
        mine = [*part.module.parameters(), *part.module.buffers()]
        assert mine
        assert {id(t) for t in mine} <= own
    assert head.module.get_submodule("conv1") is net.get_submodule("conv1")
    with pytest.raises(AttributeError, match="fc"):
        head.module.get_submodule("fc")
    params = [sum(x.param_bytes for x in m.graph.layers) for m in (model, head, tail)]
    assert params[1] + params[2] == params[0]


def test_training_a_part_trains_the_whole() -> None:
    net = build("mlp").train()
    model = splitc.load(net, example())
    head, _ = model.split(single(model.graph)[2])
    before = model.digest
    with torch.no_grad():
        next(head.module.parameters()).add_(1.0)
    assert model.digest != before


class Late(nn.Module):
    """Operations in place whose operand is read before and after."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        a = self.conv(x)
        b = torch.sigmoid(a)
        c = self.relu(a)
        return torch.cat([a, b, c.mul_(2.0), x], dim=1)


def test_what_is_changed_in_place_crosses_as_it_was_read() -> None:
    net = Late().eval()
    model = splitc.load(net, example())
    expected = net(example().clone()).detach().numpy()
    feed = {"x": example().numpy()}
    np.testing.assert_array_equal(next(iter(model.run(feed).values())), expected)
    for cut in [*single(model.graph), *several(model, 8)]:
        assert_splits(model, cut)
    np.testing.assert_array_equal(feed["x"], example().numpy())


class Many(nn.Module):
    """Several inputs and results, a tuple in between, a result made early."""

    def forward(self, a: Tensor, b: Tensor) -> dict[str, Any]:
        left, right = torch.tanh(a).split([1, 3], dim=1)
        early = left * 2
        return {"early": early, "late": [right + b, early.sum() + b.mean()], "none": None}


def test_several_inputs_results_and_elements_of_tuples_cross() -> None:
    model = splitc.load(Many(), (torch.randn(2, 4), torch.randn(2, 3)))
    assert [t.name for t in model.graph.inputs] == ["a", "b"]
    assert len(model.graph.outputs) == 3
    cuts = [Cut.after(model.graph, [n]) for n in ("tanh", "split", "mul", "sum")]
    for cut in cuts:
        assert_splits(model, cut)
    crossing = {t.name for t in cuts[1].boundary}
    assert crossing == {"split.0", "split.1", "b"}


def test_a_cut_with_an_empty_side_is_refused() -> None:
    model = splitc.load(build("plain"), example())
    whole = Cut(model.graph, len(model.graph))
    with pytest.raises(IllegalCutError, match="cannot cut after"):
        model.split(whole)
