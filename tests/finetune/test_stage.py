# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Stages: what is trained, in which mode, and how settings are refused."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import nn, optim  # noqa: E402

from splitc.errors import UsageError  # noqa: E402
from splitc.finetune.stage import Stage, optimizer  # noqa: E402
from splitc_passes.codecs.insert_bottleneck import InsertBottleneck  # noqa: E402
from splitc_passes.layers.channel import channels  # noqa: E402
from tests.finetune.nets import loaded, lossy, small  # noqa: E402


def coded() -> nn.Module:
    return InsertBottleneck(4, cut="2", channel="awgn")(loaded()).module


def trained(stage: Stage, module: nn.Module) -> set[str]:
    return {name.split(".")[0] for name in stage.parameters(module)}


def test_patterns_choose_parameters_and_the_last_that_fits_decides() -> None:
    net = coded()
    assert trained(Stage("s", 1), net) == {"0", "1", "6", "8", "link"}
    assert trained(Stage("s", 1, trainable="link.*"), net) == {"link"}
    assert trained(Stage("s", 1, trainable=("*", "!link.*")), net) == {"0", "1", "6", "8"}
    assert trained(Stage("s", 1, trainable=("*", "!*", "8.*")), net) == {"8"}


def test_a_stage_that_trains_nothing_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"'s' trains nothing\n.*lnk.*\n.*did you mean 'link"):
        Stage("s", 1, trainable="lnk.2.encoder.weight").parameters(coded())


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "loss": ({"loss": "crossentropy"}, "loss 'crossentropy' is unknown\n.*'cross-entropy'"),
    "metric": ({"metric": "acc"}, "metric 'acc' is unknown\n.*'accuracy'"),
    "optimizer": ({"optimizer": "adamm"}, "optimizer 'adamm' is unknown\n.*'adam'"),
    "schedule": ({"schedule": "step"}, "schedule 'step' is unknown\n.*cosine"),
    "rate 0": ({"learning_rate": 0.0}, "learning_rate 0 is not above 0"),
    "rate NaN": ({"learning_rate": float("nan")}, "learning_rate nan is not above 0"),
    "epochs": ({"epochs": -1}, "epochs -1 is below 0"),
    "patience": ({"patience": -2}, "patience -2 is below 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_settings_out_of_range_are_refused(case: str) -> None:
    changed, match = REFUSED[case]
    options: dict[str, Any] = {"name": "s", "epochs": 1, **changed}
    with pytest.raises(UsageError, match=match):
        Stage(**options)


def modes(module: nn.Module) -> dict[str, bool]:
    """Mode of each module that computes; the codec's batch norms as one."""
    found = {n: m.training for n, m in module.named_modules() if n and not n.startswith("link")}
    norms = [m for n, m in module.named_modules()
             if n.startswith("link") and isinstance(m, nn.BatchNorm2d)]  # fmt: skip
    assert len(norms) == 2
    (channel,) = channels(module)
    return {**found, "norms": all(m.training for m in norms), "channel": channel.training}


def test_only_what_is_trained_is_in_train_mode_but_channels_are_on() -> None:
    net = coded()
    Stage("codec", 1, trainable="link.*").set_modes(net)
    found = modes(net)
    assert not found["1"], "a frozen batch norm would move"
    assert not found["5"], "dropout of a frozen part is off"
    assert found["norms"]
    assert found["channel"]
    Stage("rest", 1, trainable=("*", "!link.*")).set_modes(net)
    found = modes(net)
    assert found["1"]
    assert found["5"]
    assert not found["norms"]
    assert found["channel"]


def test_begin_sets_a_network_up_and_gives_it_back_whatever_happens() -> None:
    net = lossy().module
    net.get_parameter("0.bias").requires_grad_(False)
    before = [(m, m.training) for m in net.modules()], [p.requires_grad for p in net.parameters()]
    stage = Stage("s", 1, trainable="8.*")
    with pytest.raises(ZeroDivisionError, match="zero"), stage.begin(net) as parameters:
        assert set(parameters) == {"8.weight", "8.bias"}
        assert [n for n, p in net.named_parameters() if p.requires_grad] == ["8.weight", "8.bias"]
        raise ZeroDivisionError("zero")
    assert (
        [(m, m.training) for m in net.modules()],
        [p.requires_grad for p in net.parameters()],
    ) == before


def test_it_serves_a_loop_of_ones_own() -> None:
    net, stage = small(), Stage("s", 1, 0.1, "8.*", optimizer="sgd")
    x, y = torch.randn(8, 2, 6, 6), torch.arange(8) % 4
    first, last = net.get_parameter("0.weight"), net.get_parameter("8.bias")
    frozen, bias = first.clone(), last.detach().clone()
    with stage.begin(net):
        steps = optimizer(stage, net)
        nn.functional.cross_entropy(net(x), y).backward()
        steps.step()
    assert first.grad is None
    torch.testing.assert_close(first, frozen, rtol=0, atol=0)
    assert last.grad is not None
    torch.testing.assert_close(last.detach(), bias - 0.1 * last.grad)


def test_an_optimizer_of_ones_own_gets_the_parameters_and_the_rate() -> None:
    stage = Stage("s", 1, 0.25, "8.*", optimizer=optim.RMSprop)
    made = optimizer(stage, small())
    assert isinstance(made, optim.RMSprop)
    assert made.param_groups[0]["lr"] == 0.25
    assert len(made.param_groups[0]["params"]) == 2


def test_cosine_begins_at_the_rate_and_ends_near_0() -> None:
    stage = Stage("s", 4, 1.0, schedule="cosine")
    assert [round(stage.rate(e), 4) for e in (1, 2, 3, 4)] == [1.0, 0.8536, 0.5, 0.1464]
    assert {Stage("s", 4, 1.0).rate(e) for e in (1, 4)} == {1.0}


def test_shared_parameters_are_trained_once_under_either_name() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    net = nn.Sequential(first, second)
    assert set(Stage("s", 1, trainable="1.weight").parameters(net)) == {"0.weight"}
