# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Learning from what the network itself predicted before it was rewritten."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import splitc  # noqa: E402
from splitc.errors import UsageError  # noqa: E402
from splitc.finetune.loop import fine_tune  # noqa: E402
from splitc.finetune.progress import metric_name  # noqa: E402
from splitc.finetune.recipes import Recipe  # noqa: E402
from splitc.finetune.stage import Stage  # noqa: E402
from splitc_passes.recipes.bottlenetpp import BottleNetPP  # noqa: E402
from splitc_passes.recipes.si_nr import SiNr  # noqa: E402
from splitc_passes.training.teacher import SoftTargets, learn_from  # noqa: E402
from tests.finetune.nets import CLASSES, blobs, loaded, small  # noqa: E402

TRAIN, VALID = blobs(192, 1), blobs(64, 2)


def scores(seed: int) -> Tensor:
    return 3 * torch.randn(5, CLASSES, generator=torch.Generator().manual_seed(seed))


def test_without_a_share_it_is_the_cross_entropy() -> None:
    labels = torch.tensor([0, 1, 2, 3, 0])
    got = SoftTargets(0.0)(scores(0), (labels, scores(1)))
    torch.testing.assert_close(got, functional.cross_entropy(scores(0), labels))


def test_the_soft_share_is_the_divergence_of_softened_distributions() -> None:
    own, taught = scores(0), scores(1)
    p, q = ((each / 2.0).double().softmax(1) for each in (taught, own))
    wanted = 4.0 * (p * (p / q).log()).sum(1).mean()
    got = SoftTargets(1.0, 2.0)(own, (torch.zeros(5, dtype=torch.int64), taught))
    torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-6)


def test_its_gradient_ends_where_the_network_agrees_with_the_teacher() -> None:
    own = scores(0).requires_grad_()
    labels = torch.zeros(5, dtype=torch.int64)
    SoftTargets(1.0)(own, (labels, own.detach() + 7.0)).backward()
    assert own.grad is not None
    assert own.grad.abs().max() < 1e-6


def test_behind_a_softmax_its_logarithms_are_the_scores() -> None:
    labels = torch.tensor([3, 2, 1, 0, 0])
    plain = SoftTargets(0.5)(scores(0), (labels, scores(1)))
    behind = SoftTargets(0.5, behind_softmax=True)
    got = behind(scores(0).softmax(1), (labels, scores(1).softmax(1)))
    torch.testing.assert_close(got, plain, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def base() -> nn.Module:
    net = small(dropout=0.0)
    fine_tune(loaded(net), [Stage("base", 4, 0.01)], TRAIN, VALID)
    return net


def agreement(one: nn.Module, other: nn.Module) -> float:
    """Mean distance of two networks' distributions."""
    with torch.no_grad():
        return float(
            torch.stack([
                (one.eval()(x).softmax(1) - other.eval()(x).softmax(1)).abs().mean()
                for x, _ in VALID
            ]).mean()
        )  # fmt: skip


@pytest.mark.parametrize(
    "recipe",
    [
        SiNr(cut="2", epochs=4, learning_rate=3e-3, soft_targets=1.0),
        BottleNetPP(4, cut="2", codec_epochs=4, codec_learning_rate=0.01, everything_epochs=2,
                    learning_rate=1e-3, soft_targets=1.0),
    ],
    ids=["si-nr", "bottlenetpp"],
)  # fmt: skip
def test_labels_are_not_needed_for_what_a_teacher_knows(recipe: Recipe, base: nn.Module) -> None:
    """With the whole loss from the teacher, wrong labels do no harm."""
    wrong = [(x, (y + 1) % CLASSES) for x, y in TRAIN]
    model = loaded(copy.deepcopy(base))
    tuned = recipe.tune(model, wrong, VALID)
    assert agreement(tuned.model.module, base) < 0.1
    assert {r.stage for r in tuned.history if r.epoch} <= {"all", "codec", "everything"}
    last = tuned.history[-1]
    assert 0.8 < last.metric <= 1, "the metric is the accuracy by the labels"


def test_the_teacher_stays_as_it_was(base: nn.Module) -> None:
    """The network is trained in place; what it learns from is its copy."""
    net = copy.deepcopy(base)
    stages, train, _ = learn_from(loaded(net), SoftTargets(1.0), [Stage("s", 1)], TRAIN, VALID, {})
    before = [taught.clone() for _, (_, taught) in train(1)]
    with torch.no_grad():
        for each in net.parameters():
            each.zero_()
    after = [taught for _, (_, taught) in train(1)]
    assert len(before) == len(TRAIN)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert stages[0].loss == SoftTargets(1.0)
    assert metric_name(stages[0]) == "accuracy"


def test_a_network_that_ends_in_a_softmax_is_told_apart(base: nn.Module) -> None:
    model = splitc.load(nn.Sequential(base, nn.Softmax(1)).eval(), torch.zeros(1, 2, 6, 6))
    stages, _, _ = learn_from(model, SoftTargets(0.5), [Stage("s", 1)], TRAIN, VALID, {})
    assert stages[0].loss == SoftTargets(0.5, behind_softmax=True)


@pytest.mark.parametrize(
    ("recipe", "match"),
    [
        (SiNr(cut="2", soft_targets=1.5), r"soft_targets 1.5 is not in \[0, 1\]"),
        (SiNr(cut="2", soft_targets=0.5, temperature=0.0), "temperature 0 is not above 0"),
        (BottleNetPP(4, cut="2", base_epochs=1, soft_targets=0.5), "a network that is trained"),
    ],
)
def test_what_cannot_be_is_refused(recipe: Recipe, match: str, base: nn.Module) -> None:
    with pytest.raises(UsageError, match=match):
        recipe.tune(loaded(copy.deepcopy(base)), TRAIN, VALID)


def test_a_stage_with_a_loss_of_its_own_is_refused(base: nn.Module) -> None:
    with pytest.raises(UsageError, match="stage 's' cannot learn from soft targets"):
        learn_from(loaded(base), SoftTargets(0.5), [Stage("s", 1, loss="mse")], TRAIN, VALID, {})
