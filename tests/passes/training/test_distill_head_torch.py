# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""The pass `distill-head` on PyTorch networks: modules, weights, a student that learns."""

from __future__ import annotations

import operator

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Generator, Tensor, fx, nn  # noqa: E402

import splitc  # noqa: E402
from splitc.errors import BadModelError  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc.ir.chain import Insertion  # noqa: E402
from splitc.ir.cut import Cut  # noqa: E402
from splitc_passes.analyses.group_blocks import cut_points  # noqa: E402
from splitc_passes.codecs.insert_bottleneck import InsertBottleneck  # noqa: E402
from splitc_passes.codecs.learned import relu  # noqa: E402
from splitc_passes.training.distill_head import DistillHead  # noqa: E402
from tests.frontend.torch.nets import NETS, build, example  # noqa: E402


def map_points(model: TorchModel) -> list[str]:
    """Layers behind which one map crosses."""
    points = cut_points(model.graph, "exact")
    found = [model.graph.layer(name) for name in points]
    return [
        layer.name
        for layer in found
        if len(layer.outputs) == 1 and len(layer.outputs[0].shape or ()) == 4
        and not layer.is_input
    ]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in NETS if name != "mlp"])
def test_graph_and_module_are_rewritten_alike(name: str) -> None:
    model = splitc.load(build(name), example())
    points = map_points(model)
    for point in dict.fromkeys((points[0], points[len(points) // 2], points[-1])):
        one = DistillHead(cut=point, width=2, bottleneck=2)
        made = one(model)
        assert str(made.graph) == str(one(splitc.GraphModel(model.graph)).graph)
        assert made.cut is not None
        assert not {layer.name for layer in made.graph.layers} & {
            model.graph.layers[i].name for i in Cut.after(model.graph, [point]).head[1:]
        }
        feed = {model.graph.inputs[0].name: example().numpy()}
        head, tail = made.split(made.cut)
        whole = made.run(feed)
        for key, array in tail.run(head.run(feed)).items():
            np.testing.assert_array_equal(array, whole[key])


def test_a_pool_stands_where_convolutions_do_not_reach() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    model = splitc.load(module, torch.zeros(1, 3, 30, 21))
    one = DistillHead(cut="1", width=2)
    made = one(model)
    assert "1.student.pool" in made.graph.index
    assert made.graph.layer("1.student.pool").op == "averagepool"
    assert str(made.graph) == str(one(splitc.GraphModel(model.graph)).graph)


def test_only_the_old_heads_weights_are_gone_and_the_given_model_stays() -> None:
    module = build("resnet-b")
    model = splitc.load(module, example())
    text, digest = str(model.graph), model.digest
    made = DistillHead(cut="layer1.1.relu.2", width=4)(model)
    assert (str(model.graph), model.digest) == (text, digest)
    kept = {name for name in made.module.state_dict() if not name.startswith("link.")}
    assert kept == {
        name for name in model.module.state_dict() if name.startswith(("layer2.", "fc."))
    }
    assert {id(p) for n, p in made.module.named_parameters() if n in kept} < {
        id(p) for p in module.parameters()
    }


def test_the_first_weights_follow_from_the_seed() -> None:
    model = splitc.load(build("vgg"), example())
    torch.manual_seed(0)
    first = DistillHead(cut="6", width=4, seed=3)(model).digest
    assert DistillHead(cut="6", width=4, seed=3)(model).digest == first
    assert DistillHead(cut="6", width=4, seed=4)(model).digest != first


@pytest.mark.parametrize("bottleneck", [0, 6])
def test_a_student_learns_what_the_head_makes(bottleneck: int) -> None:
    model = splitc.load(build("resnet-b"), example())
    cut = "layer2.0.relu.2"
    before = Cut.after(model.graph, [cut])
    teacher, _ = model.split(before)
    made = DistillHead(cut=cut, width=8, bottleneck=bottleneck)(model)
    last = made.graph.layers[made.graph.index["layer2.1.conv1"]].inputs[0]
    student, _ = made.split(Cut.sending(made.graph, last))
    draw = torch.Generator().manual_seed(0)
    losses = learn(teacher.module, student.module, draw, steps=60)
    assert losses[-1] < 0.2 * losses[0]
    feed = {"x": smooth(1, draw).numpy()}
    wanted, got = teacher.run(feed)[cut], student.run(feed)[last]
    # a student that says the mean everywhere has an error as large as the variance
    assert np.mean((got - wanted) ** 2) < 0.5 * np.var(wanted)


def learn(teacher: nn.Module, student: nn.Module, draw: Generator, *, steps: int) -> list[float]:
    """The losses of a student that is trained to a teacher."""
    optimizer = torch.optim.Adam(student.parameters(), 1e-2)
    student.train()
    losses: list[float] = []
    for _ in range(steps):
        x = smooth(16, draw)
        with torch.no_grad():
            wanted = teacher(x)
        loss = nn.functional.mse_loss(student(x), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def smooth(count: int, draw: Generator) -> Tensor:
    """Random images without fine detail."""
    coarse = torch.randn(count, 3, 8, 8, generator=draw)
    return nn.functional.interpolate(coarse, (32, 32), mode="bilinear")


def test_a_codec_inside_trains_with_the_student() -> None:
    model = splitc.load(build("vgg"), example())
    student = DistillHead(cut="6", width=4, bottleneck=4)(model)
    made = InsertBottleneck(channels=2)(student)
    made.module.train()(example()).sum().backward()
    links = {n: p for n, p in made.module.named_parameters() if n.startswith("link.")}
    assert {n.split(".")[2] for n in links} >= {"student1", "student3", "encoder", "decoder"}
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in links.values())


def graph_with_a_slice(*, of_all: bool) -> fx.GraphModule:
    """conv, split in two, one or both halves taken out as a tuple, joined."""
    graph = fx.Graph()
    conv = graph.call_module("conv", (graph.placeholder("x"),))
    halves = graph.call_method("split", (conv, 2, 1))
    part = graph.call_function(operator.getitem, (halves, slice(0, 1)))
    taken = part if of_all else [graph.call_function(operator.getitem, (part, 0))]
    graph.output(graph.call_function(torch.cat, (taken, 1)))
    return fx.GraphModule(nn.ModuleDict({"conv": nn.Conv2d(3, 4, 1)}), graph)


@pytest.mark.parametrize("of_all", [False, True])
def test_an_element_of_a_tuple_can_be_what_crosses(of_all: bool) -> None:
    model = splitc.load(graph_with_a_slice(of_all=of_all), torch.zeros(1, 3, 4, 4))
    one = DistillHead(cut="split", width=1)
    made = one(model)
    assert str(made.graph) == str(one(splitc.GraphModel(model.graph)).graph)
    assert list(made.graph.index) == ["x", *(n for n in made.graph.index if ".student" in n), "cat"]


def test_a_head_chain_without_modules_is_refused() -> None:
    model = splitc.load(build("vgg"), example())
    shape = model.graph.tensors["2"].static_shape
    cut = Cut.after(model.graph, ["2"])
    with pytest.raises(BadModelError, match="layer 'new' has no module"):
        model.replace_head(cut, [Insertion("new", "conv", shape)])
    with pytest.raises(BadModelError, match="layer 'restored' makes something else"):
        model.replace_head(cut, [relu("restored", shape, "float32")])
