# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""Modules inserted into PyTorch networks: the graph's own rewrite, and weights still shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402

import splitc  # noqa: E402
from splitc.bundle.golden import seeded_inputs  # noqa: E402
from splitc.errors import BadModelError, UsageError  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc.frontend.torch.ops import Work, flops  # noqa: E402
from splitc.ir.chain import Insertion  # noqa: E402
from splitc.ir.cut import Cut  # noqa: E402
from splitc.ir.graph import LayerGraph  # noqa: E402
from splitc.ir.graph import Tensor as Edge  # noqa: E402
from splitc.ir.model import GraphModel  # noqa: E402
from tests.frontend.torch.nets import build, example  # noqa: E402
from tests.strategies import graphs  # noqa: E402

Modules = Callable[[], Sequence[nn.Module]]


def chain_of(tensor: Edge, *names: str) -> list[Insertion]:
    """Sigmoids behind a tensor."""
    shape = tensor.static_shape
    cost = flops(Work("sigmoid", (shape,), (shape,)))
    return [
        Insertion(n, "sigmoid", shape, tensor.dtype, 0, cost, modules=lambda: (nn.Sigmoid(),))
        for n in names
    ]


class Drawn(nn.Module):
    """A network that computes a drawn layer graph: a linear map of all that a layer reads."""

    def __init__(self, graph: LayerGraph) -> None:
        super().__init__()
        self.graph = graph
        self.work: Any = nn.ModuleList()
        for layer in graph.layers[graph.input_count :]:
            width = sum(graph.tensors[name].static_shape[1] for name in layer.inputs)
            made = sum(tensor.static_shape[1] for tensor in layer.outputs)
            self.work.append(nn.Sequential(nn.Linear(width, made, bias=False), nn.Dropout()))
            if len(layer.inputs) > 1:
                self.work[-1].append(nn.BatchNorm1d(made))

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        graph = self.graph
        known = dict(zip((t.name for t in graph.inputs), given, strict=True))
        for layer, work in zip(graph.layers[graph.input_count :], self.work, strict=True):
            made = work(torch.cat([known[name] for name in layer.inputs], dim=1))
            if len(layer.outputs) == 1:
                known[layer.outputs[0].name] = made
            else:
                sizes = [tensor.static_shape[1] for tensor in layer.outputs]
                parts = made.split(sizes, dim=1)
                known |= {t.name: parts[k] for k, t in enumerate(layer.outputs)}
        return tuple(known[name] * 2 for name in graph.outputs)


def drawn(graph: LayerGraph) -> TorchModel:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        net = Drawn(graph).eval()
    return splitc.load(net, tuple(torch.randn(t.static_shape) for t in graph.inputs))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(max_layers=5), st.data())
def test_a_random_network_and_its_graph_are_rewritten_alike(
    graph: LayerGraph, data: st.DataObject
) -> None:
    model = drawn(graph)
    name = data.draw(st.sampled_from([n for n, readers in model.graph.readers.items() if readers]))
    chain = chain_of(model.graph.tensors[name], "up", "down")
    made = model.insert(name, chain)
    assert str(made.graph) == str(GraphModel(model.graph).insert(name, chain).graph)
    again = made.insert(f"{name}.up", chain_of(model.graph.tensors[name], "more"))
    assert str(again.bypass((f"{name}.up.more",)).graph) == str(made.graph)
    back = again.bypass((f"{name}.up", f"{name}.up.more", f"{name}.down"))
    assert str(back.graph) == str(model.graph)
    feed = seeded_inputs(model.graph.inputs, 0)
    whole, rewritten = model.run(feed), back.run(feed)
    for key, array in whole.items():
        np.testing.assert_array_equal(rewritten[key], array)
    if (cut := Cut.sending(made.graph, f"{name}.up")).why_not() is None:
        head, tail = made.split(cut)
        sent = head.run(feed)
        got = {**sent, **tail.run({**feed, **sent})}
        for key, array in made.run(feed).items():
            np.testing.assert_array_equal(got[key], array)


@pytest.mark.parametrize("name", ["resnet-b", "shufflenet", "densenet", "mlp", "vit"])
def test_every_tensor_of_a_network_takes_a_chain(name: str) -> None:
    model = splitc.load(build(name), example())
    for tensor, readers in model.graph.readers.items():
        if readers:
            chain = chain_of(model.graph.tensors[tensor], "up")
            made = model.insert(tensor, chain)
            expected = GraphModel(model.graph).insert(tensor, chain)
            assert str(made.graph) == str(expected.graph)


def codec(tensor: Edge) -> list[Insertion]:
    """A convolution with its batch norm, as two modules of one layer, and a second one."""
    n, c, height, width = tensor.static_shape
    shape = (n, 2, height, width)

    def modules(inside: int, outside: int) -> Modules:
        return lambda: (nn.Conv2d(inside, outside, 1, bias=False), nn.BatchNorm2d(outside))

    pixels = n * height * width
    return [
        Insertion(
            "encoder", "conv", shape, "float32", 4 * (2 * c + 2), 2 * pixels * 2 * c, "conv1x1",
            modules(c, 2),
        ),
        Insertion(
            "decoder", "conv", (n, c, height, width), "float32", 4 * (2 * c + c),
            2 * pixels * 2 * c, "conv1x1", modules(2, c),
        ),
    ]  # fmt: skip


class Normed(nn.Module):
    """A batch norm that nothing is folded into, behind what a codec may stand at."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.other = nn.Conv2d(3, 4, 1)
        self.first = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.conv(x), self.other(x)
        return self.norm(self.relu(self.first(a))) + b


def test_layers_of_several_modules_are_one_layer_and_the_networks_norm_stays_its_own() -> None:
    model = splitc.load(Normed().eval(), torch.randn(1, 3, 6, 6))
    assert [x.name for x in model.graph.layers] == ["x", "conv", "other", "relu", "norm", "add"]
    chain = codec(model.graph.tensors["relu"])
    made = model.insert("relu", chain)
    assert str(made.graph) == str(GraphModel(model.graph).insert("relu", chain).graph)
    assert "norm" in made.graph.index
    back = made.bypass(("relu.encoder", "relu.decoder"))
    assert str(back.graph) == str(model.graph)
    assert {id(p) for p in back.module.parameters()} == {id(p) for p in model.module.parameters()}


def test_a_chain_behind_a_folded_norm_stands_behind_its_convolution() -> None:
    model = splitc.load(Normed().eval(), torch.randn(1, 3, 6, 6))
    chain = codec(model.graph.tensors["conv"])
    made = model.insert("conv", chain)
    assert [x.name for x in made.graph.layers][1:4] == ["conv", "conv.encoder", "conv.decoder"]
    assert str(made.graph) == str(GraphModel(model.graph).insert("conv", chain).graph)


class Linked(nn.Module):
    """A module of the name that inserted ones would have."""

    def __init__(self) -> None:
        super().__init__()
        self.link = nn.Linear(4, 4)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.relu(self.link(x)) + y


def test_inserted_modules_leave_the_networks_own_alone() -> None:
    net = Linked().eval()
    model = splitc.load(net, (torch.randn(1, 4), torch.randn(1, 4)))
    before = [name for name, _ in net.named_modules()]
    made = model
    for tensor in ("link", "x", "y"):
        made = made.insert(tensor, chain_of(made.graph.tensors[tensor], "up"))
    assert [name for name, _ in net.named_modules()] == before
    assert [x.name for x in made.graph.layers] == [
        "x", "y", "y.up", "x.up", "link", "link.up", "relu", "add",
    ]  # fmt: skip
    feed = seeded_inputs(model.graph.inputs, 0)
    x, y = (torch.from_numpy(feed[name]) for name in "xy")
    with torch.no_grad():
        expected = torch.relu(torch.sigmoid(net.link(torch.sigmoid(x)))) + torch.sigmoid(y)
    np.testing.assert_array_equal(made.run(feed)["add"], expected.numpy())


def test_names_that_differ_in_punctuation_only_get_modules_of_their_own() -> None:
    net = nn.Sequential()
    net.add_module("a_0", nn.ReLU())
    net.add_module("a", nn.Sequential(nn.Tanh()))
    model = splitc.load(net.eval(), torch.randn(1, 4))
    made = model.insert("a_0", chain_of(model.graph.tensors["a_0"], "up"))
    made = made.insert("a.0", chain_of(model.graph.tensors["a.0"], "up"))
    paths = [n.target for n in made.module.graph.nodes if "link" in str(n.target)]
    assert len(set(paths)) == 2


def test_what_cannot_be_inserted_is_refused_by_name() -> None:
    model = splitc.load(build("plain"), example())
    tensor = model.graph.tensors["0"]
    made = model.insert("0", chain_of(tensor, "up"))
    with pytest.raises(UsageError, match=r"there is a '0\.up' behind '0' already"):
        made.insert("0", chain_of(tensor, "up"))
    with pytest.raises(UsageError, match="there is no tensor 'q'"):
        model.insert("q", chain_of(tensor, "up"))
    with pytest.raises(UsageError, match="no layer 'q'"):
        model.bypass(("q",))
    with pytest.raises(BadModelError, match="'bare' has no module"):
        model.insert("0", [Insertion("bare", "relu", tensor.static_shape)])
    flat = Insertion("flat", "flatten", tensor.static_shape, modules=lambda: (nn.Flatten(),))
    with pytest.raises(BadModelError, match="'flat' makes something else"):
        model.insert("0", [flat])
    half = Insertion("up", "sigmoid", tensor.static_shape, "float16", modules=lambda: (nn.ReLU(),))
    with pytest.raises(BadModelError, match="it says .* float16"):
        model.insert("0", [half])


def test_training_the_rewritten_network_trains_the_given_one_and_the_chain() -> None:
    net = Normed().train()
    model = splitc.load(net, torch.randn(2, 3, 6, 6))
    made: Any = model.insert("relu", codec(model.graph.tensors["relu"]))
    made.module(torch.randn(2, 3, 6, 6)).sum().backward()
    assert net.conv.weight.grad is not None
    new = {name for name, _ in made.module.named_parameters()} - {
        n for n, _ in net.named_parameters()
    }
    assert new == {
        f"link.relu.{part}.weight" for part in ("encoder", "decoder", "encoder_2", "decoder_2")
    } | {f"link.relu.{part}.bias" for part in ("encoder_2", "decoder_2")}
    assert all(each.training for each in made.module.modules())
