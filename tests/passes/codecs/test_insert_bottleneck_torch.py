# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""The pass `insert-bottleneck` on PyTorch networks: shapes, gradients, channels, states."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402

import splitc  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc_passes.analyses.group_blocks import cut_points  # noqa: E402
from splitc_passes.codecs.insert_bottleneck import InsertBottleneck  # noqa: E402
from splitc_passes.layers.channel import transmitting  # noqa: E402
from splitc_passes.layers.channel_state import set_state  # noqa: E402
from tests.frontend.torch.nets import NETS, build, example  # noqa: E402


def points(model: TorchModel, rank: int) -> list[str]:
    """Layers that a codec can stand behind, whose tensor has that rank."""
    return [
        layer.name
        for layer in map(model.graph.layer, cut_points(model.graph, "exact"))
        if len(layer.outputs) == 1 and len(layer.outputs[0].static_shape) == rank
    ]


def feed(model: TorchModel) -> dict[str, Any]:
    return {model.graph.inputs[0].name: example().numpy()}


def part(module: nn.Module, name: str) -> Any:
    """The submodule whose path ends so."""
    return next(each for path, each in module.named_modules() if path.endswith(name))


def idle_weights(module: nn.Module) -> list[str]:
    """Weights that no gradient has reached."""
    return [
        name
        for name, weight in module.named_parameters()
        if weight.grad is None or not weight.grad.abs().sum() > 0
    ]


def assert_rewritten_alike(one: InsertBottleneck, model: TorchModel) -> TorchModel:
    """The module's own layers and costs are those that the rewrite of its text gives."""
    made = one(model)
    bare = one(splitc.GraphModel(model.graph))
    assert str(made.graph) == str(bare.graph)
    assert made.cut is not None and bare.cut is not None
    assert made.cut.name == bare.cut.name
    return made


@pytest.mark.parametrize("name", [name for name in NETS if name != "mlp"])
def test_graph_and_module_are_rewritten_alike_around_a_map(name: str) -> None:
    model = splitc.load(build(name), example())
    found = points(model, 4)
    cut = found[len(found) // 2]
    one = InsertBottleneck(2, cut, channel="erasure", state="known")
    made = assert_rewritten_alike(one, model)
    first, second = made.run(feed(made)), made.run(feed(made))
    for key, array in first.items():
        np.testing.assert_array_equal(array, second[key])
        assert array.shape == model.graph.tensors[key].shape


@pytest.mark.parametrize(("name", "rank"), [("vit", 3), ("mlp", 2), ("resnet-b", 2)])
@pytest.mark.parametrize("bits", [3, 8, 32])
def test_graph_and_module_are_rewritten_alike_around_tokens_and_vectors(
    name: str, rank: int, bits: int
) -> None:
    model = splitc.load(build(name), example())
    found = points(model, rank)
    one = InsertBottleneck(
        5, found[len(found) // 2], bits, "none", channel="packets", state="assumed"
    )
    made = assert_rewritten_alike(one, model)
    assert made.run(feed(made)).keys() == model.run(feed(model)).keys()


@pytest.mark.parametrize("height", [1, 2, 5, 7])
@pytest.mark.parametrize("width", [1, 5, 8])
def test_every_row_and_column_of_a_map_is_read_and_given_back(height: int, width: int) -> None:
    x = torch.rand(2, 3, height, width)
    model = splitc.load(nn.Sequential(nn.ReLU(), nn.Tanh()), x)
    made = assert_rewritten_alike(InsertBottleneck(2, "0", bits=32), model)
    codec: Any = made.module.get_submodule("link.0")
    with torch.no_grad():
        codec.encoder.weight.fill_(1)
        codec.decoder.weight.fill_(1)
    x.requires_grad_()
    code = codec.encoder(x)
    (gradient,) = torch.autograd.grad(code.sum(), x)
    assert (gradient > 0).all()
    assert code.shape == (2, 2, (height + 1) // 2, (width + 1) // 2)
    restored = codec.decoder(torch.ones_like(code))
    assert restored.shape == x.shape
    assert (restored > 0).all()


CHANNELS = [("none", 8), ("none", 32), ("awgn", 8), ("awgn", 32), ("erasure", 8), ("erasure", 3),
            ("packets", 12), ("packets", 32)]  # fmt: skip


@pytest.mark.parametrize(("channel", "bits"), CHANNELS)
def test_gradients_reach_head_and_codec_through_quantiser_and_channel(
    channel: Any, bits: int
) -> None:
    model = splitc.load(build("plain"), example())
    made = InsertBottleneck(4, "1", bits, channel=channel)(model)
    made.module.train()
    made.module(torch.randn(3, 3, 32, 32)).square().sum().backward()
    assert idle_weights(made.module) == []


def test_training_teaches_the_codec_to_restore_what_crosses() -> None:
    """Six channels that are mixtures of two fit into two, on a link that erases bits."""
    draw = torch.Generator().manual_seed(0)
    mixtures = torch.rand(64, 2, generator=draw) @ torch.rand(2, 6, generator=draw)
    maps = mixtures[:, :, None, None].expand(-1, -1, 4, 4)
    model = splitc.load(nn.Sequential(nn.ReLU(), nn.Flatten()), maps[:1])
    module = InsertBottleneck(2, "0", channel="erasure")(model).module.train()
    optimiser = torch.optim.Adam(module.parameters(), lr=0.02)
    errors: list[float] = []
    for _ in range(120):
        optimiser.zero_grad()
        error = (module(maps) - maps.flatten(1)).square().mean()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < mixtures.var(0).mean() / 4


def test_gradients_pass_through_a_codec_that_is_frozen_in_eval_mode() -> None:
    model = splitc.load(build("plain"), example())
    made = InsertBottleneck(4, "1", bits=8)(model)
    made.module.get_submodule("link").requires_grad_(False)
    made.module.eval()(example()).square().sum().backward()
    idle = idle_weights(made.module)
    assert idle and all(name.startswith("link.") for name in idle)


@pytest.mark.parametrize("bits", [2, 8, 32])
def test_the_codec_gives_the_same_with_and_without_gradients(bits: int) -> None:
    model = splitc.load(build("plain"), example())
    made = InsertBottleneck(4, "1", bits)(model)
    trained = made.module(example())
    assert trained.requires_grad
    (run,) = made.run(feed(made)).values()
    np.testing.assert_allclose(trained.detach().numpy(), run, rtol=0, atol=1e-6)


def test_eight_bits_cross_and_are_a_level_near_the_code() -> None:
    model = splitc.load(build("plain"), example())
    floats = InsertBottleneck(4, "1", bits=32)(model)
    quantised = InsertBottleneck(4, "1", bits=8)(model)
    crossing: list[Any] = []
    for made in (floats, quantised):
        assert made.cut is not None
        head, _ = made.split(made.cut)
        crossing += head.run(feed(head)).values()
    code, levels = crossing
    assert levels.dtype == np.uint8
    assert levels.nbytes * 4 == code.nbytes
    np.testing.assert_allclose(levels / 255, code, rtol=0, atol=0.5 / 255 + 1e-6)


def test_the_channel_is_off_in_eval_mode_and_repeats_with_its_seed() -> None:
    model = splitc.load(build("plain"), example())
    made = InsertBottleneck(4, "1", channel="awgn", psnr_db=10)(model)
    off = made.module(example())
    with transmitting(made.module, seed=4):
        noisy = made.module(example())
    assert not torch.equal(noisy, off)
    with transmitting(made.module, seed=4):
        assert torch.equal(made.module(example()), noisy)
    assert torch.equal(made.module(example()), off)


def test_the_first_weights_follow_from_the_seed_alone() -> None:
    model = splitc.load(build("plain"), example())
    torch.manual_seed(1)
    first = InsertBottleneck(4, "1", seed=3)(model)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = InsertBottleneck(4, "1", seed=3)(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.digest == second.digest
    assert InsertBottleneck(4, "1", seed=4)(model).digest != first.digest


def weigh_the_state(module: nn.Module) -> None:
    """Give the state a say: at first its weights are 0."""
    for name, weight in module.named_parameters():
        if name.endswith(".told.weight"):
            weight.data.fill_(2.0)


def code_shift(module: nn.Module, x: Tensor) -> Tensor:
    """What each sample's code is, before the squashing, more than without the state."""
    found: list[Tensor] = []
    told: Any = part(module, ".told")
    hook = told.register_forward_hook(lambda _m, args, out: found.append(out - args[0]))
    module(x)
    hook.remove()
    return found[0].detach()[:, 0, 0, 0]


@pytest.mark.parametrize("state", ["known", "assumed"])
def test_the_encoder_is_told_the_state_of_each_sample_in_training(state: Any) -> None:
    model = splitc.load(build("plain"), example())
    module = InsertBottleneck(4, "1", channel="erasure", state=state)(model).module
    weigh_the_state(module)
    channel: Any = part(module, ".channel")
    channel.rate = torch.tensor([0.0, 0.1, 0.2])
    shift = code_shift(module.train(), torch.randn(3, 3, 32, 32))
    assert shift.tolist() == pytest.approx([0.0, 0.2, 0.4], abs=1e-6)


@pytest.mark.parametrize(
    ("channel", "state", "off", "on"),
    [
        ("erasure", "known", 0.01, 0.3), ("erasure", "assumed", 0.125, 0.125),
        ("packets", "known", 0.1, 0.3), ("packets", "assumed", 0.125, 0.125),
        ("awgn", "known", 0.1, 0.3), ("awgn", "assumed", 10**-0.75, 10**-0.75),
    ],
)  # fmt: skip
def test_the_state_in_eval_mode_is_the_links_where_known_and_else_assumed(
    channel: Any, state: Any, off: float, on: float
) -> None:
    model = splitc.load(build("plain"), example())
    module = InsertBottleneck(4, "1", channel=channel, state=state)(model).module
    weigh_the_state(module)
    link: Any = part(module, ".channel")
    setattr(link, "sigma" if channel == "awgn" else "rate", 0.3)
    assert code_shift(module, example()).item() == pytest.approx(2 * off, abs=1e-5)
    with transmitting(module):
        assert code_shift(module, example()).item() == pytest.approx(2 * on, abs=1e-5)
    set_state(module, 0.25)
    assert code_shift(module, example()).item() == pytest.approx(0.5, abs=1e-5)


def test_a_copy_is_told_the_state_of_its_own_channel() -> None:
    model = splitc.load(build("plain"), example())
    module = InsertBottleneck(4, "1", channel="erasure", state="known")(model).module
    weigh_the_state(module)
    copied = copy.deepcopy(module)
    channel: Any = part(copied, ".channel")
    channel.rate = 0.5
    with transmitting(copied), transmitting(module):
        assert code_shift(copied, example()).item() == pytest.approx(1.0)
        assert code_shift(module, example()).item() == pytest.approx(0.02)


def test_weights_and_codes_take_the_networks_element_type() -> None:
    model = splitc.load(build("plain").double(), example().double())
    made = assert_rewritten_alike(InsertBottleneck(4, "1", bits=8), model)
    assert made.graph.tensors["1.code.restored"].dtype == "float64"
    (found,) = made.run({"input": example().double().numpy()}).values()
    assert found.dtype == np.float64
