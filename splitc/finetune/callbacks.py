# SPDX-License-Identifier: Apache-2.0
"""What fine-tuning tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from splitc.finetune.stage import Stage


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a stage.

    Args:
        stage: The stage's name.
        epoch: From 1; 0 is the network as the stage found it.
        train_loss: Mean over the samples; None for epoch 0.
        validation_loss: Mean over the samples.
        metric: What the best epoch is chosen by; the validation loss where the stage has
            no other.
        best: Whether it is the best so far.
        learning_rate: Of the epoch.
        seconds: How long it took.
    """

    stage: str
    epoch: int
    train_loss: float | None
    validation_loss: float
    metric: float
    best: bool
    learning_rate: float
    seconds: float


class Callback:
    """Base of callbacks; every method does nothing.

    What a method raises ends the run, and is raised by `fine_tune` after the network's
    modes are as before.
    """

    def on_stage_start(self, stage: Stage, module: nn.Module, batches: int | None) -> None:
        """A stage begins or goes on; an epoch has that many batches where it is known."""

    def on_batch_end(self, stage: Stage, epoch: int, batch: int, loss: float) -> None:
        """A batch, from 1, was trained on."""

    def on_epoch_end(self, record: EpochRecord, module: nn.Module) -> None:
        """An epoch was trained and validated."""

    def on_best(self, record: EpochRecord, module: nn.Module) -> None:
        """An epoch is the best of its stage so far."""

    def on_checkpoint(self, folder: Path, record: EpochRecord) -> None:
        """A checkpoint was written."""
