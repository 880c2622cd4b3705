# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""The recipe `distill-head`: the student learns from the old head, then everything from labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402

import splitc  # noqa: E402
from splitc.errors import DataError, UsageError  # noqa: E402
from splitc.finetune.callbacks import Callback, EpochRecord  # noqa: E402
from splitc.finetune.recipes import parse_recipe  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc_passes.recipes.distill_head import Distil  # noqa: E402
from splitc_passes.training.teacher import student_head, teacher_head  # noqa: E402

CUT = "2"


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        )  # fmt: skip
    for each in made.parameters():
        each.data *= 3  # as large as trained ones
    return made


def loaded(module: nn.Module | None = None) -> TorchModel:
    return splitc.load(module or network(), torch.zeros(1, 3, 8, 8))


def batches(count: int = 6) -> list[tuple[Tensor, Tensor]]:
    """Images of four levels of brightness, named by them."""
    draw = torch.Generator().manual_seed(0)
    labels = [torch.randint(0, 4, (16,), generator=draw) for _ in range(count)]
    noise = [0.3 * torch.randn(16, 3, 8, 8, generator=draw) for _ in range(count)]
    return [(x + k[:, None, None, None], k) for x, k in zip(noise, labels, strict=True)]


def losses(history: tuple[EpochRecord, ...], stage: str) -> list[float]:
    return [record.validation_loss for record in history if record.stage == stage]


@pytest.mark.parametrize("bottleneck", [0, 4])
def test_the_student_nears_the_old_head_and_the_tail_stays(bottleneck: int) -> None:
    model, data = loaded(), batches(20)
    feed = {"input": data[0][0][:1].numpy()}
    before = model.run(feed)
    recipe = Distil(CUT, width=8, bottleneck=bottleneck, head_epochs=6, everything_epochs=0,
                    head_learning_rate=1e-2)  # fmt: skip
    tuned = recipe.tune(model, data, data)
    errors = losses(tuned.history, "head")
    assert min(errors) < 0.25 * errors[0]
    assert {record.stage for record in tuned.history} == {"head"}
    for key, array in model.run(feed).items():
        np.testing.assert_array_equal(array, before[key])
    student, teacher = student_head(tuned.model, CUT).module.eval(), teacher_head(model, CUT)
    with torch.no_grad():
        made = torch.cat([student(x[i : i + 1]) for x, _ in data[:4] for i in range(16)])
        wanted = torch.cat([teacher(x) for x, _ in data[:4]])
    # what one would miss by always giving the mean map
    spread = (wanted - wanted.mean(0)).square().mean()
    assert (made - wanted).square().mean() < 0.5 * spread


def test_then_the_labels_train_everything() -> None:
    model, data = loaded(), batches()
    recipe = Distil(CUT, width=8, head_epochs=2, everything_epochs=6, learning_rate=1e-2)
    tuned = recipe.tune(model, data, data)
    errors = losses(tuned.history, "everything")
    assert errors[-1] < 0.8 * errors[0]
    assert [r.stage for r in tuned.history] == ["head"] * 3 + ["everything"] * 7


class Stop(Callback):
    """Ends a run as a kill would, after an epoch of the last stage."""

    def on_checkpoint(self, folder: Path, record: EpochRecord) -> None:
        if (record.stage, record.epoch) == ("everything", 1):
            raise KeyboardInterrupt


def test_a_run_that_was_stopped_goes_on_with_the_same_result(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="checkpoints need safetensors")
    recipe, data = Distil(CUT, width=4, head_epochs=2, everything_epochs=3), batches(2)
    whole = recipe.tune(loaded(), data, data)
    with pytest.raises(KeyboardInterrupt):
        recipe.tune(loaded(), data, data, checkpoint=tmp_path, callbacks=[Stop()])
    again = recipe.tune(loaded(), data, data, checkpoint=tmp_path, resume=True)
    assert again.model.digest == whole.model.digest
    assert [r.validation_loss for r in again.history] == [r.validation_loss for r in whole.history]


def test_a_copy_is_trained_where_one_is_asked_for() -> None:
    model, data = loaded(), batches(10)
    digest = model.digest
    recipe = Distil(CUT, width=8, head_epochs=0, everything_epochs=3, learning_rate=1e-2)
    recipe.tune(model, data, data, copy=True)
    assert model.digest == digest
    recipe.tune(model, data, data)
    assert model.digest != digest


def test_wrong_labels_are_refused_before_the_head_is_trained() -> None:
    class Seen(Callback):
        def on_stage_start(self, stage: object, module: nn.Module, batches: int | None) -> None:
            raise AssertionError("a stage began")

    wrong = [(x, k + 7) for x, k in batches(1)]
    with pytest.raises(DataError, match="distill-head: train: the targets go from"):
        Distil(CUT, width=2).tune(loaded(), wrong, wrong, callbacks=[Seen()])


def test_its_text_parses_back() -> None:
    text = 'distill-head(cut="2", max_head_bytes=9000, bottleneck=2, head_epochs=3)'
    recipe = parse_recipe(text)
    assert str(recipe) == text
    assert str(recipe.pipeline()) == 'distill-head(cut="2", max_head_bytes=9000, bottleneck=2)'
    with pytest.raises(UsageError, match="distill-head: how large may the new head be"):
        parse_recipe('distill-head(cut="2")').tune(loaded(), batches(1), batches(1))


def test_the_teacher_is_a_frozen_copy_for_any_batch() -> None:
    module = network().train()
    teacher = teacher_head(loaded(module), CUT)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not any(each.training for each in teacher.modules())
    assert {id(p) for p in teacher.parameters()}.isdisjoint(id(p) for p in module.parameters())
    assert teacher(torch.zeros(5, 3, 8, 8)).shape == (5, 8, 4, 4)
    assert all(p.requires_grad for p in module.parameters())
    assert module.training
