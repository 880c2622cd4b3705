# SPDX-License-Identifier: Apache-2.0
"""Progress of fine-tuning on standard error: a bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import nn

from splitc.finetune.callbacks import Callback, EpochRecord
from splitc.finetune.stage import Stage


class ShowProgress(Callback):
    """Shows stage, epoch, loss, metric and the time that is left.

    Use it as a context manager, so that the terminal is as before whatever happens.

    Args:
        console: Where to; standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, markup=False)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=None),
            TextColumn("loss {task.fields[loss]}  {task.fields[metric]}"),
            TimeRemainingColumn(compact=True), console=self.console, transient=True,
            disable=not self.console.is_terminal, redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self.task: TaskID | None = None
        self.stage: Stage | None = None
        self.batches: int | None = None
        self.drawn = 0.0

    def __enter__(self) -> ShowProgress:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def on_stage_start(self, stage: Stage, module: nn.Module, batches: int | None) -> None:
        """A new bar."""
        if self.task is not None:
            self.bar.remove_task(self.task)
        self.stage, self.batches = stage, batches
        total = stage.epochs * batches if batches else None
        self.task = self.bar.add_task(stage.name, total=total, loss="–", metric="")

    def on_batch_end(self, stage: Stage, epoch: int, batch: int, loss: float) -> None:
        """Move the bar, a few times a second at most."""
        if self.task is None or time.monotonic() - self.drawn < 0.1:
            return
        self.drawn = time.monotonic()
        done = (epoch - 1) * self.batches + batch if self.batches else None
        self.bar.update(
            self.task, completed=done, loss=f"{loss:.4f}",
            description=f"{stage.name}: epoch {epoch} of {stage.epochs}",
        )  # fmt: skip

    def on_epoch_end(self, record: EpochRecord, module: nn.Module) -> None:
        """The metric; away from a terminal a line."""
        text = described(record, self.stage)
        if self.task is not None:
            done = record.epoch * self.batches if self.batches else None
            self.bar.update(self.task, completed=done, metric=text)
        if not self.console.is_terminal:
            trained = "" if record.train_loss is None else f"loss {record.train_loss:.4f}, "
            of = f" of {self.stage.epochs}" if self.stage is not None else ""
            self.console.print(
                f"splitc: {record.stage}: epoch {record.epoch}{of}: {trained}"
                f"validation {record.validation_loss:.4f}, {text}",
                soft_wrap=True,
            )


def described(record: EpochRecord, stage: Stage | None) -> str:
    """The metric of an epoch: `accuracy 0.9130`."""
    return f"{metric_name(stage)} {record.metric:.4f}"


def metric_name(stage: Stage | None) -> str:
    """What a stage's metric is called."""
    if stage is None:
        return "metric"
    if not isinstance(stage.metric, str):
        return str(getattr(stage.metric, "__name__", "metric"))
    return stage.metric or ("accuracy" if stage.loss == "cross-entropy" else "loss")
