# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""The recipes `si-nr` and `bottlenetpp`: text, stages, what they train and leave alone."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402

from splitc.errors import IllegalCutError, UsageError  # noqa: E402
from splitc.finetune.loop import fine_tune  # noqa: E402
from splitc.finetune.recipes import parse_recipe  # noqa: E402
from splitc.finetune.stage import Stage  # noqa: E402
from splitc.ir.chain import channel_layers  # noqa: E402
from splitc_passes.layers.awgn import Awgn  # noqa: E402
from splitc_passes.layers.bit_erasure import BitErasure  # noqa: E402
from splitc_passes.layers.channel import channels, transmitting  # noqa: E402
from splitc_passes.layers.conditions import DrawConditions  # noqa: E402
from splitc_passes.recipes.bottlenetpp import BottleNetPP  # noqa: E402
from splitc_passes.recipes.si_nr import SiNr  # noqa: E402
from tests.finetune.nets import blobs, loaded, small  # noqa: E402

TRAIN, VALID = blobs(192, 1), blobs(64, 2)

TEXTS = (
    "si-nr",
    'si-nr(cut="2", loss_rate=0.4)',
    'si-nr(cut="2", varied=true, rate_range=[0.1, 0.5], soft_targets=0.9)',
    "bottlenetpp(channels=8)",
    'bottlenetpp(channels=2, channel="erasure", state="known", rate_range=[0.1, 0.2])',
)


@pytest.mark.parametrize("text", TEXTS)
def test_a_recipe_prints_and_parses(text: str) -> None:
    assert str(parse_recipe(text)) == text


REFUSED = {
    "sinr": "no 'sinr' among the recipes\n.*did you mean 'si-nr'",
    "bottlenetpp": "bottlenetpp needs the option 'channels'",
    "si-nr(rate=1)": "si-nr has no option 'rate'\n.*loss_rate",
    'si-nr(loss_rate="a")': "si-nr: option 'loss_rate'\n.*float",
    'bottlenetpp(channels=1, channel="wifi")': "option 'channel'\n.*[Ii]nvalid enum",
    "si-nr, si-nr": "is 2 recipes",
    "si-nr(": "malformed",
}


@pytest.mark.parametrize("text", REFUSED)
def test_malformed_recipes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=REFUSED[text]):
        parse_recipe(text)


def pretrained() -> nn.Module:
    net = small(dropout=0.0)
    fine_tune(loaded(net), [Stage("base", 4, 0.01)], TRAIN, VALID)
    return net


@pytest.fixture(scope="module")
def base() -> nn.Module:
    return pretrained()


def accuracy(module: nn.Module, seed: int = 0) -> float:
    """With the channels on."""
    module.eval()
    with torch.no_grad(), transmitting(module, seed=seed):
        right = sum((module(x).argmax(1) == y).sum().item() for x, y in one_by_one())
    return right / 64


def one_by_one() -> list[tuple[Tensor, Tensor]]:
    return [(x[i : i + 1], y[i : i + 1]) for x, y in VALID for i in range(len(x))]


def test_si_nr_makes_a_network_bear_losses(base: nn.Module) -> None:
    from splitc_passes.training.insert_dropout import InsertDropout

    rate = 0.9
    before = accuracy(InsertDropout("2", rate)(loaded(copy.deepcopy(base))).module)
    recipe = SiNr(cut="2", loss_rate=rate, epochs=6, learning_rate=3e-3)
    tuned = recipe.tune(loaded(copy.deepcopy(base)), TRAIN, VALID)
    assert accuracy(tuned.model.module) > before + 0.05
    assert channel_layers(tuned.model.graph) == ("2.link_dropout",)
    assert [s.patience for s in recipe.stages()] == [20]


def test_si_nr_can_meet_many_loss_rates(base: nn.Module) -> None:
    recipe = SiNr(cut="2", varied=True, rate_range=(0.2, 0.6), epochs=1)
    (stage,) = recipe.stages()
    assert stage.vary == DrawConditions(rate=(0.2, 0.6))
    tuned = recipe.tune(loaded(copy.deepcopy(base)), TRAIN, VALID)
    (layer,) = channels(tuned.model.module)
    assert layer.rate == 0.2, "afterwards it is what it was built with"
    with pytest.raises(UsageError, match=r"rate_range 0.5 to 0.4 is not in \[0, 1\)"):
        SiNr(varied=True, rate_range=(0.5, 0.4)).stages()


def test_another_ratio_retrains_the_codec_alone(base: nn.Module) -> None:
    net = copy.deepcopy(base)
    before = {n: t.clone() for n, t in net.state_dict().items()}
    for width in (4, 8):
        recipe = BottleNetPP(width, cut="2", codec_epochs=3, codec_learning_rate=0.01,
                             everything_epochs=0)  # fmt: skip
        tuned = recipe.tune(loaded(net), TRAIN, VALID)
        after = net.state_dict()
        assert [n for n in before if not torch.equal(before[n], after[n])] == []
        assert [r.stage for r in tuned.history] == ["codec"] * 4
        assert tuned.history[-1].validation_loss < tuned.history[0].validation_loss
        cut = tuned.model.cut
        assert cut is not None
        assert [t.static_shape for t in cut.boundary] == [(1, width, 3, 3)]


def test_the_third_stage_trains_the_base_too(base: nn.Module) -> None:
    net = copy.deepcopy(base)
    before = {n: t.clone() for n, t in net.named_parameters()}
    recipe = BottleNetPP(4, cut="2", codec_epochs=1, everything_epochs=1, learning_rate=1e-3)
    history = recipe.tune(loaded(net), TRAIN, VALID).history
    assert [(r.stage, r.epoch) for r in history] == [
        ("codec", 0), ("codec", 1), ("everything", 0), ("everything", 1),
    ]  # fmt: skip
    if history[-1].best:
        after = dict(net.named_parameters())
        assert all(not torch.equal(before[n], after[n]) for n in before)


def test_the_first_stage_trains_the_base_without_the_codec() -> None:
    net = small(dropout=0.0)
    recipe = BottleNetPP(4, cut="2", base_epochs=3, base_learning_rate=0.01, codec_epochs=0,
                         everything_epochs=0)  # fmt: skip
    recipe.tune(loaded(net), TRAIN, VALID)
    with torch.no_grad():
        right = sum((net(x).argmax(1) == y).sum().item() for x, y in VALID)
    assert right / 64 > 0.9


@pytest.mark.parametrize("state", ["none", "known", "assumed"])
@pytest.mark.parametrize("channel", ["awgn", "erasure"])
def test_the_three_cases_of_what_the_encoder_is_told(
    state: str, channel: str, base: nn.Module
) -> None:
    recipe = parse_recipe(
        f'bottlenetpp(channels=4, cut="2", channel="{channel}", state="{state}", '
        "codec_epochs=1, codec_learning_rate=0.01, everything_epochs=0)"
    )
    tuned = recipe.tune(loaded(copy.deepcopy(base)), TRAIN, VALID)
    told = [n for n in tuned.model.module.state_dict() if ".told." in n]
    assert bool(told) == (state != "none")
    if told:
        weight = next(
            t for n, t in tuned.model.module.state_dict().items() if n.endswith("told.weight")
        )
        assert weight.abs().max() > 0, "what the encoder is told was not learned from"
    (one,) = channels(tuned.model.module)
    assert (one.psnr_db if isinstance(one, Awgn) else one.rate) == (
        20.0 if channel == "awgn" else 0.01
    )  # pyright: ignore[reportAttributeAccessIssue]


def test_epochs_replace_those_of_stages_that_are_not_skipped(base: nn.Module) -> None:
    recipe = BottleNetPP(4, cut="2", everything_epochs=0)
    history = recipe.tune(loaded(copy.deepcopy(base)), TRAIN, VALID, epochs=1).history
    assert [(r.stage, r.epoch) for r in history] == [("codec", 0), ("codec", 1)]


def test_conditions_are_drawn_in_their_ranges() -> None:
    noisy, erasing = Awgn(20.0), BitErasure(0.01)
    module = nn.Sequential(noisy, erasing)
    draw, source = DrawConditions((10.0, 12.0), (0.2, 0.3)), torch.Generator().manual_seed(0)
    ratios: list[float] = []
    rates: list[float] = []
    for _ in range(50):
        draw(module, source)
        ratios.append(float(noisy.psnr_db))
        rates.append(float(erasing.rate))
    assert 10 <= min(ratios) < 10.5
    assert 11.5 < max(ratios) <= 12
    assert 0.2 <= min(rates) < 0.225
    assert 0.275 < max(rates) <= 0.3


def test_what_fails_names_the_recipe(base: nn.Module) -> None:
    with pytest.raises(IllegalCutError, match="si-nr: insert-dropout: there is no layer 'x'"):
        SiNr(cut="x").tune(loaded(base), TRAIN, VALID)
    with pytest.raises(UsageError, match="bottlenetpp: insert-bottleneck: channels 9 is not in"):
        BottleNetPP(9, cut="2").tune(loaded(base), TRAIN, VALID)
    with pytest.raises(UsageError, match=r"rate_range 0.5 to 1.5 is not in \[0, 1\)"):
        BottleNetPP(4, cut="2", rate_range=(0.5, 1.5)).tune(loaded(base), TRAIN, VALID)
    with pytest.raises(UsageError, match="psnr_db_range is empty"):
        BottleNetPP(4, cut="2", psnr_db_range=(5, 1)).tune(loaded(base), TRAIN, VALID)


def test_a_codec_without_channel_varies_nothing() -> None:
    stages = BottleNetPP(4, channel="none").stages()
    assert [stage.vary for stage in stages] == [None, None, None]
