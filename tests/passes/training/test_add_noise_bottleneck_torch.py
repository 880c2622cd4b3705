# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""The pass `add-noise-bottleneck` on PyTorch networks: the noise, its price, what training does."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, distributions, nn  # noqa: E402

import splitc  # noqa: E402
from splitc.ir.chain import channel_layers  # noqa: E402
from splitc_passes.analyses.group_blocks import cut_points  # noqa: E402
from splitc_passes.layers.channel import transmitting  # noqa: E402
from splitc_passes.layers.variational_noise import VariationalNoise  # noqa: E402
from splitc_passes.training.add_noise_bottleneck import AddNoiseBottleneck  # noqa: E402
from tests.frontend.torch.nets import NETS, build, example  # noqa: E402

SHAPES = [(3, 5, 4, 2), (3, 7, 5), (3, 5)]


@pytest.mark.parametrize("name", NETS)
def test_graph_and_module_are_rewritten_alike_and_eval_mode_sends_the_mean(name: str) -> None:
    model = splitc.load(build(name), example())
    points = [
        point
        for point in cut_points(model.graph, "exact")
        if len(made := model.graph.layer(point).outputs) == 1
        and len(made[0].shape or ()) in (2, 3, 4)
    ]
    one = AddNoiseBottleneck(2, points[len(points) // 2], activation="none")
    made = one(model)
    assert str(made.graph) == str(one(splitc.GraphModel(model.graph)).graph)
    feed = {model.graph.inputs[0].name: example().numpy()}
    whole = made.run(feed)
    bare = made.bypass(channel_layers(made.graph)).run(feed)
    for key, array in whole.items():
        np.testing.assert_array_equal(bare[key], array)


def noise(shape: tuple[int, ...], *, beta: float = 1.0, seed: int = 0) -> VariationalNoise:
    width = shape[1] if len(shape) == 4 else shape[-1]
    layer = VariationalNoise(width, len(shape), beta, seed=seed)
    with torch.no_grad():
        layer.log_variance.copy_(torch.linspace(-3, 1, width))
    return layer.train()


def spread_of(layer: VariationalNoise, shape: tuple[int, ...]) -> Tensor:
    sigma = (layer.log_variance / 2).exp()
    return (sigma.reshape(1, -1, 1, 1) if len(shape) == 4 else sigma).expand(shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_penalty_is_the_divergence_that_torch_distributions_has(shape: tuple[int, ...]) -> None:
    layer = noise(shape, beta=0.25)
    mean = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    layer(mean)
    code = distributions.Normal(mean, spread_of(layer, shape))
    wanted = distributions.kl_divergence(code, distributions.Normal(0.0, 1.0))
    expected = 0.25 * wanted.reshape(len(mean), -1).sum(1).mean()
    torch.testing.assert_close(layer.penalty(), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_channel_gets_noise_of_its_own_deviation(shape: tuple[int, ...]) -> None:
    many = (4000, *shape[1:])
    layer = noise(shape)
    off = (layer(torch.ones(many)) - 1) / spread_of(layer, many)
    count = off[0].numel() * 4000
    assert off.mean().item() == pytest.approx(0, abs=5 / count**0.5)
    assert off.square().mean().item() == pytest.approx(1, abs=5 * (2 / count) ** 0.5)


def test_the_noise_is_seeded_and_off_in_eval_mode() -> None:
    layer, x = noise((2, 3, 4, 4), seed=5), torch.zeros(2, 3, 4, 4)
    first = layer(x)
    assert not torch.equal(layer(x), first)
    layer.reseed(5)
    torch.testing.assert_close(layer(x), first, rtol=0, atol=0)
    layer.eval()
    assert layer(x) is x
    with transmitting(layer, seed=5):
        torch.testing.assert_close(layer(x), first, rtol=0, atol=0)


def test_a_batch_is_charged_once_and_none_in_evaluation() -> None:
    layer, x = noise((2, 3)), torch.ones(2, 3)
    assert layer.penalty().item() == 0
    layer(x)
    copy.deepcopy(layer)
    assert layer.penalty().item() > 0
    assert layer.penalty().item() == 0
    with torch.no_grad():
        layer(x)
    layer.eval()(x)
    assert layer.penalty().item() == 0


def test_a_copy_in_mid_step_and_half_precision_work() -> None:
    layer = noise((2, 3))
    mean = torch.ones(2, 3, requires_grad=True)
    layer(mean * 2)
    assert copy.deepcopy(layer).penalty().item() == 0
    sent = layer(mean.to(torch.bfloat16))
    assert sent.dtype == torch.bfloat16
    assert layer.penalty().dtype == torch.float32
    assert layer.state(4).tolist() == pytest.approx([spread_of(layer, (1, 3)).mean().item()] * 4)


def test_gradients_reach_the_head_the_codec_and_the_variances() -> None:
    model = splitc.load(build("vgg"), example())
    made = AddNoiseBottleneck(3, "6", beta=0.1)(model)
    module = made.module.train()
    loss = module(example()).square().sum() + penalty(module)
    loss.backward()
    silent = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def penalty(module: nn.Module) -> Tensor:
    return sum((m.penalty() for m in module.modules() if isinstance(m, VariationalNoise)),
               torch.zeros(()))  # fmt: skip


def test_the_price_keeps_out_of_the_code_what_the_task_does_not_need() -> None:
    """Two numbers come in and the task needs the first: paid for, less of the second is sent."""
    free, paid = (trained(beta) for beta in (0.0, 1.0))
    assert paid[0] < 0.5 * free[0]
    assert paid[1] < 0.5 * free[1]


def trained(beta: float) -> tuple[float, float]:
    """A network trained at a price: nats that are sent, and how far the noise lets through a
    step of the number that is not needed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Identity(), nn.Tanh(), nn.Linear(2, 1))
    model = splitc.load(net, torch.zeros(64, 2))
    made = AddNoiseBottleneck(2, "1", beta=beta, activation="none")(model)
    draw = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(made.module.parameters(), 0.03)
    made.module.train()
    for _ in range(100):
        x = torch.randn(64, 2, generator=draw)
        missed = made.module(x)[:, 0] - x[:, 0].tanh()
        loss = 20 * missed.square().mean() + penalty(made.module)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert made.cut is not None
    (layer,) = (m for m in made.module.modules() if isinstance(m, VariationalNoise))
    sent = made.split(made.cut)[0].module.eval()
    x = torch.randn(64, 2, generator=draw)
    with torch.no_grad():
        moved = sent(x + torch.tensor([0.0, 1.0])) - sent(x)
        return (
            layer.divergence(sent(x)).item(),
            (moved / spread_of(layer, (64, 2))).norm().item(),
        )
