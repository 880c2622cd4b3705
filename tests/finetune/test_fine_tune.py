# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""Fine-tuning: against a plain loop, and what it leaves as it was."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Generator, Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from splitc.errors import BadModelError, ToolchainError, UsageError  # noqa: E402
from splitc.finetune.callbacks import Callback, EpochRecord  # noqa: E402
from splitc.finetune.loop import fine_tune  # noqa: E402
from splitc.finetune.stage import Stage  # noqa: E402
from splitc_passes.codecs.insert_bottleneck import InsertBottleneck  # noqa: E402
from splitc_passes.layers.channel import channels  # noqa: E402
from splitc_passes.layers.link_dropout import LinkDropout  # noqa: E402
from tests.finetune.nets import Data, blobs, loaded, lossy, small  # noqa: E402

TRAIN, VALID = blobs(96, 1), blobs(48, 2)


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def plain_loop(net: nn.Module, epochs: int, rate: float) -> list[tuple[float, float, float]]:
    """What one writes without a library: train loss, validation loss, accuracy by epoch."""
    steps, found = torch.optim.Adam(net.parameters(), rate), []
    for _ in range(epochs):
        net.train()
        total = 0.0
        for x, y in TRAIN:
            steps.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            steps.step()
            total += loss.item() * len(x)
        net.eval()
        with torch.no_grad():
            outs = [(net(x), y) for x, y in VALID]
        loss = sum(F.cross_entropy(o, y).item() * len(y) for o, y in outs)
        right = sum((o.argmax(1) == y).sum().item() for o, y in outs)
        found.append((total / 96, loss / 48, right / 48))
    return found


def test_it_computes_what_a_plain_loop_computes() -> None:
    net = small(dropout=0.0)
    reference = copy.deepcopy(net)
    wanted = plain_loop(reference, 3, 0.01)
    tuned = fine_tune(loaded(net), [Stage("all", 3, 0.01)], TRAIN, VALID)
    got = [(r.train_loss, r.validation_loss, r.metric) for r in tuned.history[1:]]
    np.testing.assert_allclose(np.array(got), np.array(wanted), rtol=1e-5)
    assert wanted[-1][2] > 0.9 > tuned.history[0].metric


def test_the_best_epoch_by_validation_is_what_is_left() -> None:
    seen: list[dict[str, Tensor]] = []

    class Keep(Callback):
        def on_epoch_end(self, record: EpochRecord, module: nn.Module) -> None:
            seen.append(weights(model.module))

    model = loaded()
    metric: Any = iter([0.1, 0.4, 0.8, 0.3, 0.2])
    stage = Stage("all", 4, metric=lambda results, targets: next(metric))
    tuned = fine_tune(model, [stage], TRAIN, VALID[:1], callbacks=[Keep()])
    assert [r.best for r in tuned.history] == [True, True, True, False, False]
    assert same(weights(model.module), seen[2])
    assert not same(weights(model.module), seen[4])


def test_a_network_that_gets_worse_comes_out_as_it_went_in() -> None:
    model = loaded()
    before = weights(model.module)
    stage = Stage(
        "all", 2, 0.5, metric=lambda results, targets: -float(seen.append(1) or len(seen))
    )
    seen: list[int] = []
    fine_tune(model, [stage], TRAIN, VALID)
    assert same(weights(model.module), before)


def test_the_last_epoch_is_what_is_left_where_that_is_asked_for() -> None:
    seen: list[dict[str, Tensor]] = []

    class Keep(Callback):
        def on_epoch_end(self, record: EpochRecord, module: nn.Module) -> None:
            seen.append(weights(model.module))

    model = loaded()
    metric: Any = iter([0.9, 0.4, 0.3])
    stage = Stage("all", 2, keep="last", metric=lambda results, targets: next(metric))
    tuned = fine_tune(model, [stage], TRAIN, VALID[:1], callbacks=[Keep()])
    assert [r.best for r in tuned.history] == [True, False, False]
    assert same(weights(model.module), seen[2])
    assert not same(weights(model.module), seen[0])


def test_the_cosine_falls_at_each_batch() -> None:
    seen: list[float] = []

    class Sgd(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            seen.append(self.param_groups[0]["lr"])
            super().step(closure)

    stage = Stage("all", 2, 0.1, schedule="cosine", optimizer=lambda p, rate: Sgd([*p], rate))
    fine_tune(loaded(), [stage], TRAIN, VALID)
    steps = 2 * len(TRAIN)
    assert seen == pytest.approx([0.05 * (1 + math.cos(math.pi * k / steps)) for k in range(steps)])


def test_of_epochs_with_the_same_metric_the_lower_loss_is_best() -> None:
    stage = Stage("all", 3, 0.01, metric=lambda results, targets: 1.0)
    history = fine_tune(loaded(small(dropout=0.0)), [stage], TRAIN, VALID).history
    losses = [r.validation_loss for r in history]
    assert [r.best for r in history] == [
        loss == min(losses[: i + 1]) for i, loss in enumerate(losses)
    ]
    assert history[-1].best


def test_patience_ends_a_stage_and_the_next_one_begins() -> None:
    metric: Any = iter([0.5, 0.4, 0.3, 0.1, 0.2])
    stages = [
        Stage("one", 9, patience=2, metric=lambda results, targets: next(metric)),
        Stage("two", 1, metric=lambda results, targets: next(metric)),
    ]
    history = fine_tune(loaded(), stages, TRAIN, VALID[:1]).history
    assert [(r.stage, r.epoch) for r in history] == [
        ("one", 0), ("one", 1), ("one", 2), ("two", 0), ("two", 1),
    ]  # fmt: skip


def test_frozen_parts_do_not_move_batch_norms_included() -> None:
    model = InsertBottleneck(4, cut="2", channel="awgn")(loaded())
    before = weights(model.module)
    fine_tune(model, [Stage("codec", 1, 0.01, "link.*")], TRAIN, VALID)
    after = weights(model.module)
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved
    assert all(key.startswith("link.") for key in moved)
    assert any("running_mean" in key for key in moved)


def test_a_stage_without_the_link_trains_the_network_that_was_read() -> None:
    net = small(dropout=0.0)
    reference = copy.deepcopy(net)
    wanted = plain_loop(reference, 2, 0.01)
    model = InsertBottleneck(4, cut="2", channel="awgn")(loaded(net))
    stage = Stage("base", 2, 0.01, without_link=True)
    history = fine_tune(model, [stage], TRAIN, VALID).history
    got = [r.validation_loss for r in history[1:]]
    np.testing.assert_allclose(got, [loss for _, loss, _ in wanted], rtol=1e-5)


def test_modes_gradients_seeds_and_random_states_are_as_before() -> None:
    net = small()
    net[1].train()
    net[0].bias.requires_grad_(False)
    model = lossy(net)
    (channel,) = channels(model.module)
    channel.reseed(7)
    modes = [(m, m.training) for m in model.module.modules()]
    torch.manual_seed(3)
    states = torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()
    fine_tune(model, [Stage("all", 1)], TRAIN, VALID)
    assert [(m, m.training) for m in model.module.modules()] == modes
    assert [n for n, p in net.named_parameters() if not p.requires_grad] == ["0.bias"]
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert str(np.random.get_state(legacy=False)) == str(states[1])
    assert random.getstate() == states[2]
    assert (channel.seed, channel.on) == (7, None)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_the_network_is_in_does_not_matter(training: bool) -> None:
    net = small()
    net.train(training)
    history = fine_tune(lossy(net), [Stage("all", 1)], TRAIN, VALID).history
    net = small().eval()
    wanted = fine_tune(lossy(net), [Stage("all", 1)], TRAIN, VALID).history
    assert [r.validation_loss for r in history] == [r.validation_loss for r in wanted]


def test_it_trains_in_place_or_a_copy() -> None:
    net = small()
    before = weights(net)
    tuned = fine_tune(lossy(net), [Stage("all", 1, 0.01)], TRAIN, VALID, copy=True)
    assert same(weights(net), before)
    after = weights(tuned.model.module)
    assert after.keys() == before.keys()
    assert not same(after, before)
    fine_tune(lossy(net), [Stage("all", 1, 0.01)], TRAIN, VALID)
    assert same(weights(net), after)


def test_the_channel_is_on_in_training_and_in_validation_unless_told() -> None:
    results: dict[bool, list[EpochRecord]] = {}
    for on in (True, False):
        stage = Stage("all", 1, 1e-9, validate_on_channel=on)
        results[on] = list(fine_tune(lossy(rate=0.9), [stage], TRAIN, VALID).history)
    assert results[True][0].validation_loss != results[False][0].validation_loss
    assert results[True][1].train_loss == results[False][1].train_loss
    net, total = small(), 0.0
    with torch.no_grad():
        total = sum(F.cross_entropy(net(x), y).item() * len(y) for x, y in VALID) / 48
    assert results[False][0].validation_loss == pytest.approx(total, rel=1e-5)


def test_validation_meets_the_same_losses_at_every_epoch() -> None:
    stage = Stage("all", 2, 1e-12, "8.*", optimizer="sgd")
    history = fine_tune(lossy(rate=0.5), [stage], TRAIN, VALID).history
    assert len({round(r.validation_loss, 6) for r in history}) == 1


def link_of(module: nn.Module) -> LinkDropout:
    (channel,) = channels(module)
    assert isinstance(channel, LinkDropout)
    return channel


def test_conditions_are_drawn_for_each_batch_and_given_back() -> None:
    drawn: list[float] = []
    validated: list[float] = []

    def vary(module: nn.Module, generator: Generator) -> None:
        rate = float(torch.rand((), generator=generator)) * 0.5
        link_of(module).rate = rate
        drawn.append(rate)

    class Look(Callback):
        def on_epoch_end(self, record: EpochRecord, module: nn.Module) -> None:
            validated.append(float(link_of(module).rate))

    model = lossy(rate=0.25)
    fine_tune(model, [Stage("all", 2, vary=vary)], TRAIN, VALID, callbacks=[Look()])
    first = list(drawn)
    drawn.clear()
    fine_tune(lossy(rate=0.25), [Stage("all", 2, vary=vary)], TRAIN, VALID)
    assert drawn == first
    assert len(set(first)) == 2 * len(TRAIN)
    assert validated == [0.25, 0.25, 0.25]


def test_seeds_decide_what_is_drawn() -> None:
    def history(seed: int) -> list[float | None]:
        tuned = fine_tune(lossy(), [Stage("all", 1)], TRAIN, VALID, seed=seed)
        return [r.train_loss for r in tuned.history]

    assert history(1) == history(1)
    assert history(1) != history(2)


class Penalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(72, 4)
        self.reg = Weighted()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.reg(x.flatten(1)))


class Weighted(nn.Module):
    splitc_op = "identity"

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(72))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight

    def penalty(self) -> Tensor:
        return 100 * self.weight.square().mean()


def test_a_modules_penalty_is_added_to_the_training_loss_only() -> None:
    history = fine_tune(loaded(Penalised()), [Stage("all", 1, 1e-9)], TRAIN, VALID).history
    assert history[1].train_loss == pytest.approx(100 + history[0].validation_loss, rel=0.2)
    assert history[0].validation_loss < 10


def test_a_loss_and_metric_of_ones_own_and_the_mean_squared_error() -> None:
    data: Data = [(x, F.one_hot(y, 4).float()) for x, y in TRAIN]
    by_name = fine_tune(loaded(), [Stage("s", 1, loss="mse")], data, data).history
    own = Stage("s", 1, loss=lambda results, targets: (results - targets).square().mean(),
                metric="loss")  # fmt: skip
    by_function = fine_tune(loaded(), [own], data, data).history
    assert [r.metric for r in by_name] == pytest.approx([r.metric for r in by_function])
    assert by_name[1].metric == by_name[1].validation_loss < by_name[0].metric


def test_the_cross_entropy_behind_a_softmax_is_that_before_it() -> None:
    net = small(dropout=0.0)
    with_softmax = nn.Sequential(*copy.deepcopy(net), nn.Softmax(1))
    wanted = fine_tune(loaded(net), [Stage("s", 2)], TRAIN, VALID).history
    got = fine_tune(loaded(with_softmax), [Stage("s", 2)], TRAIN, VALID).history
    assert [r.validation_loss for r in got] == pytest.approx(
        [r.validation_loss for r in wanted], rel=1e-4
    )


def test_callbacks_are_told_everything_in_order() -> None:
    told: list[str] = []

    class Tell(Callback):
        def on_stage_start(self, stage: Stage, module: nn.Module, batches: int | None) -> None:
            told.append(f"start {stage.name} {batches}")

        def on_batch_end(self, stage: Stage, epoch: int, batch: int, loss: float) -> None:
            told.append(f"batch {epoch}.{batch}")

        def on_epoch_end(self, record: EpochRecord, module: nn.Module) -> None:
            told.append(f"end {record.epoch}")

        def on_best(self, record: EpochRecord, module: nn.Module) -> None:
            told.append(f"best {record.epoch}")

    stage = Stage("a", 1, metric=lambda results, targets: 0.5 - len(told))
    stages = [stage, Stage("a", 0), Stage("a", 1, metric=stage.metric)]
    fine_tune(loaded(), stages, TRAIN[:2], VALID[:1], callbacks=[Tell()])
    assert told == [
        "start a 2", "best 0", "end 0", "batch 1.1", "batch 1.2", "end 1",
        "start a-3 2", "best 0", "end 0", "batch 1.1", "batch 1.2", "end 1",
    ]  # fmt: skip


def test_data_may_be_a_function_of_the_epoch_or_a_loader() -> None:
    asked: list[int] = []

    def train(epoch: int) -> Data:
        asked.append(epoch)
        return TRAIN

    by_function = fine_tune(lossy(), [Stage("s", 2)], train, VALID).history
    assert asked[-2:] == [1, 2]
    by_list = fine_tune(lossy(), [Stage("s", 2)], TRAIN, VALID).history
    assert [r.train_loss for r in by_function] == [r.train_loss for r in by_list]
    pairs = torch.utils.data.TensorDataset(*map(torch.cat, zip(*TRAIN, strict=True)))
    loader = torch.utils.data.DataLoader(
        pairs, 16, shuffle=True, generator=torch.Generator().manual_seed(5)
    )
    first = fine_tune(lossy(), [Stage("s", 2)], loader, VALID).history
    again = fine_tune(lossy(), [Stage("s", 2)], loader, VALID).history
    assert [r.train_loss for r in first] == [r.train_loss for r in again]
    assert [r.train_loss for r in first] != [r.train_loss for r in by_list]


def test_a_network_of_one_batch_size_an_unknown_device_and_precision_are_refused() -> None:
    class First(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[0].flatten(1) * self.weight

        weight = nn.Parameter(torch.ones(36))

    stage = [Stage("s", 1)]
    with pytest.raises(BadModelError, match="fixed batch of 1"):
        fine_tune(loaded(First()), stage, TRAIN, VALID)
    with pytest.raises(ToolchainError, match="no device 'gpu'"):
        fine_tune(loaded(), stage, TRAIN, VALID, device="gpu")
    with pytest.raises(UsageError, match=r"precision 'fp16' is unknown"):
        fine_tune(loaded(), stage, TRAIN, VALID, precision="fp16")


def test_bfloat16_keeps_the_weights_float32() -> None:
    tuned = fine_tune(lossy(), [Stage("s", 2, 0.01)], TRAIN, VALID, precision="bfloat16")
    exact = fine_tune(lossy(), [Stage("s", 2, 0.01)], TRAIN, VALID)
    assert {p.dtype for p in tuned.model.module.parameters()} == {torch.float32}
    losses = [[r.validation_loss for r in each.history] for each in (tuned, exact)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)
