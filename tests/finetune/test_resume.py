# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Checkpoints: stopped and resumed runs against uninterrupted ones; full disks; NaN."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("safetensors", reason="needs safetensors")

from torch import Tensor, nn  # noqa: E402

from splitc.errors import (  # noqa: E402
    DataError,
    OutputError,
    SplitcError,
    TrainingError,
    UsageError,
)
from splitc.finetune.callbacks import Callback, EpochRecord  # noqa: E402
from splitc.finetune.loop import Tuned, fine_tune  # noqa: E402
from splitc.finetune.stage import Stage  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc_passes.codecs.insert_bottleneck import InsertBottleneck  # noqa: E402
from splitc_passes.layers.conditions import DrawConditions  # noqa: E402
from tests.finetune.nets import blobs, loaded  # noqa: E402
from tests.helpers import ROOT  # noqa: E402

TRAIN, VALID = blobs(64, 1), blobs(32, 2)
STAGES = (
    Stage("codec", 3, 0.01, "link.*", patience=2, vary=DrawConditions()),
    Stage("everything", 2, 0.003, optimizer="sgd", schedule="cosine"),
)


def model() -> TorchModel:
    return InsertBottleneck(4, cut="2", channel="awgn")(loaded())


class Stop(Callback):
    """Raises at an epoch of a stage: before its checkpoint is written, or after."""

    def __init__(self, stage: str, epoch: int, *, after: bool, batch: int = 0) -> None:
        self.at = (stage, epoch)
        self.after = after
        self.batch = batch

    def on_batch_end(self, stage: Stage, epoch: int, batch: int, loss: float) -> None:
        if (stage.name, epoch) == self.at and batch == self.batch:
            raise InterruptedError("stopped")

    def on_epoch_end(self, record: EpochRecord, module: nn.Module) -> None:
        if (record.stage, record.epoch) == self.at and not self.after and not self.batch:
            raise InterruptedError("stopped")

    def on_checkpoint(self, folder: Path, record: EpochRecord) -> None:
        if (record.stage, record.epoch) == self.at and self.after:
            raise InterruptedError("stopped")


def outcome(tuned: Tuned) -> tuple[list[EpochRecord], dict[str, Tensor]]:
    history = [replace(record, seconds=0.0) for record in tuned.history]
    return history, {n: t.clone() for n, t in tuned.model.module.state_dict().items()}


def assert_same(one: Tuned, other: Tuned) -> None:
    (history, weights), (history_2, weights_2) = outcome(one), outcome(other)
    assert history == history_2
    assert weights.keys() == weights_2.keys()
    assert [n for n in weights if not torch.equal(weights[n], weights_2[n])] == []


@pytest.fixture(scope="module")
def whole() -> Tuned:
    return fine_tune(model(), STAGES, TRAIN, VALID)


STOPS = {
    "in the first epoch": Stop("codec", 1, after=False, batch=3),
    "before a checkpoint": Stop("codec", 2, after=False),
    "after a checkpoint": Stop("codec", 2, after=True),
    "after a stage": Stop("codec", 3, after=True),
    "before the second stage": Stop("everything", 0, after=False),
    "in the second stage": Stop("everything", 2, after=False, batch=1),
    "at the very end": Stop("everything", 2, after=True),
}


@pytest.mark.parametrize("case", STOPS)
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(
    case: str, whole: Tuned, tmp_path: Path
) -> None:
    made, folder = model(), tmp_path / "checkpoint"
    with pytest.raises(InterruptedError, match="stopped"):
        fine_tune(made, STAGES, TRAIN, VALID, checkpoint=folder, callbacks=[STOPS[case]])
    torch.manual_seed(123)
    resumed = fine_tune(made, STAGES, TRAIN, VALID, checkpoint=folder, resume=True)
    assert_same(resumed, whole)


def test_one_stopped_at_every_epoch_is_too(whole: Tuned, tmp_path: Path) -> None:
    class Once(Callback):
        def on_checkpoint(self, folder: Path, record: EpochRecord) -> None:
            raise InterruptedError("stopped")

    folder, stops = tmp_path / "checkpoint", 0
    while True:
        try:
            resumed = fine_tune(
                model(), STAGES, TRAIN, VALID, checkpoint=folder, resume=True, callbacks=[Once()]
            )
        except InterruptedError:
            stops += 1
        else:
            break
    assert stops == len(whole.history)
    assert_same(resumed, whole)


def test_a_killed_process_is_resumed_by_another(whole: Tuned, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    code = textwrap.dedent(f"""
        import os, signal, sys, torch
        torch.set_num_threads({torch.get_num_threads()})
        sys.path.insert(0, {str(ROOT)!r})
        from splitc.finetune import Callback, fine_tune
        from tests.finetune.test_resume import STAGES, TRAIN, VALID, model
        class Kill(Callback):
            def on_batch_end(self, stage, epoch, batch, loss):
                if (stage.name, epoch, batch) == ("codec", 3, 2):
                    os.kill(os.getpid(), signal.SIGKILL)
        fine_tune(model(), STAGES, TRAIN, VALID, checkpoint={str(folder)!r}, callbacks=[Kill()])
    """)
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert sorted(p.suffix for p in folder.iterdir()) == [".json", ".safetensors"]
    resumed = fine_tune(model(), STAGES, TRAIN, VALID, checkpoint=folder, resume=True)
    assert_same(resumed, whole)


def test_resuming_without_a_checkpoint_begins(whole: Tuned, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    assert_same(fine_tune(model(), STAGES, TRAIN, VALID, checkpoint=folder, resume=True), whole)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "checkpoint"
    with pytest.raises(InterruptedError, match="stopped"):
        fine_tune(model(), STAGES, TRAIN, VALID, checkpoint=folder,
                  callbacks=[Stop("codec", 1, after=True)])  # fmt: skip
    return folder


def test_a_checkpoint_is_not_overwritten_unasked(stored: Path) -> None:
    before = {p.name: p.read_bytes() for p in stored.iterdir()}
    with pytest.raises(OutputError, match="there is a checkpoint already[^$]*resume"):
        fine_tune(model(), STAGES, TRAIN, VALID, checkpoint=stored)
    assert {p.name: p.read_bytes() for p in stored.iterdir()} == before


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "seed": ({"seed": 1}, "another run: seed"),
    "stages": ({"stages": STAGES[:1]}, "another run: stages"),
    "vary": (
        {"stages": (replace(STAGES[0], vary=DrawConditions((5.0, 6.0))), STAGES[1])},
        "another run: stages",
    ),
    "network": ({"model": InsertBottleneck(2, cut="2", channel="awgn")}, "another run: network"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_runs_checkpoint_is_refused(case: str, stored: Path) -> None:
    change, match = OTHERS[case]
    made = change["model"](loaded()) if "model" in change else model()
    stages = change.get("stages", STAGES)
    with pytest.raises(UsageError, match=match):
        fine_tune(made, stages, TRAIN, VALID, checkpoint=stored, resume=True,
                  seed=change.get("seed", 0))  # fmt: skip


DAMAGES = ("no json", "other schema", "a path outside", "tensors cut short", "tensors gone")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused(damage: str, stored: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(stored, folder)
    path = folder / "state.json"
    state = json.loads(path.read_text("utf-8"))
    tensors = folder / state["file"]
    if damage == "no json":
        path.write_text("{", "utf-8")
    elif damage == "other schema":
        path.write_text(json.dumps({**state, "schema": 99}), "utf-8")
    elif damage == "a path outside":
        path.write_text(json.dumps({**state, "file": f"../{folder.name}/{tensors.name}"}), "utf-8")
    elif damage == "tensors cut short":
        tensors.write_bytes(tensors.read_bytes()[:-40])
    else:
        tensors.unlink()
    with pytest.raises(DataError, match="the checkpoint is damaged"):
        fine_tune(model(), STAGES, TRAIN, VALID, checkpoint=folder, resume=True)


def test_a_full_disk_is_named_and_the_last_good_checkpoint_stays(
    whole: Tuned, tmp_path: Path
) -> None:
    folder, limits = tmp_path / "checkpoint", resource.getrlimit(resource.RLIMIT_FSIZE)

    class Fill(Callback):
        def on_checkpoint(self, folder: Path, record: EpochRecord) -> None:
            if record.epoch == 1:
                resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))

    try:
        with pytest.raises(OutputError, match="checkpoint cannot be written[^$]*make room"):
            fine_tune(model(), STAGES, TRAIN, VALID, checkpoint=folder, callbacks=[Fill()])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert json.loads((folder / "state.json").read_text("utf-8"))["epoch"] == 1
    assert sorted(p.suffix for p in folder.iterdir()) == [".json", ".safetensors"]
    resumed = fine_tune(model(), STAGES, TRAIN, VALID, checkpoint=folder, resume=True)
    assert_same(resumed, whole)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(OutputError, match="checkpoint cannot be written"):
        fine_tune(model(), STAGES, TRAIN, VALID, checkpoint=tmp_path / "file" / "checkpoint")


@pytest.mark.parametrize("where", ["loss", "data"])
def test_a_loss_that_is_no_number_stops_and_the_good_weights_stay(
    where: str, tmp_path: Path
) -> None:
    made, folder = model(), tmp_path / "checkpoint"

    def loss(results: Tensor, targets: Tensor) -> Tensor:
        value = nn.functional.cross_entropy(results, targets)
        return value * float("nan") if where == "loss" and armed else value

    def train(epoch: int) -> list[tuple[Tensor, Tensor]]:
        if where == "data" and epoch == 2:
            return [*TRAIN[:2], (TRAIN[2][0] * float("inf"), TRAIN[2][1])]
        return TRAIN

    armed: list[int] = []
    kept: dict[str, Tensor] = {}

    class Arm(Callback):
        def on_checkpoint(self, folder: Path, record: EpochRecord) -> None:
            if record.epoch == 1:
                armed.append(1)

        def on_best(self, record: EpochRecord, module: nn.Module) -> None:
            kept.update({n: t.clone() for n, t in made.module.state_dict().items()})

    stage = Stage("codec", 3, 0.01, "link.*", loss=loss)
    with pytest.raises(
        TrainingError, match=r"the loss is nan\n.*stage 'codec', epoch 2, batch"
    ) as e:
        fine_tune(made, [stage], train, VALID, checkpoint=folder, callbacks=[Arm()])
    assert "lower the learning rate" in e.value.hint
    assert json.loads((folder / "state.json").read_text("utf-8"))["epoch"] == 1
    state = made.module.state_dict()
    assert [n for n in kept if not torch.equal(kept[n], state[n])] == []


def test_every_named_error_has_an_exit_code_of_the_users() -> None:
    assert all(e("x").exit_code == 2 for e in (DataError, TrainingError, OutputError))
    assert issubclass(TrainingError, SplitcError)
