# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Fine-tuning in stages, resumable to the bit."""

from __future__ import annotations

import copy as copying
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from splitc.errors import ToolchainError, UsageError, nearest
from splitc.finetune.callbacks import Callback, EpochRecord
from splitc.finetune.data import Batches, described
from splitc.finetune.run import Run
from splitc.finetune.seeding import kept_random_state
from splitc.finetune.stage import Stage, rename
from splitc.frontend.torch.model import TorchModel

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Tuned:
    """What fine-tuning gives.

    Args:
        model: The model with the best weights of the last stage.
        history: Every epoch of every stage, in order.
    """

    model: TorchModel
    history: tuple[EpochRecord, ...]


def fine_tune(
    model: TorchModel,
    stages: Sequence[Stage],
    train: Batches,
    validate: Batches,
    *,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    device: str | torch.device = "cpu",
    precision: str = "float32",
    copy: bool = False,
) -> Tuned:
    """Train a model in stages; at the end of each it has the weights of its best epoch.

    The model is trained in place: its weights are those of the module it was read from,
    which is trained with it. Modes, gradient flags, the device and the random state are
    afterwards as before, whatever happens.

    What is drawn in an epoch depends on the seed, the stage and the epoch only, so that a
    run that was stopped and resumed gives bit for bit what an uninterrupted one gives, on
    the same machine with the same number of threads; data that is a function of the epoch,
    a list or a `DataLoader` without persistent workers has no other state.

    Args:
        model: The model, with the codec and channels that passes inserted.
        stages: What is trained, in order.
        train: Batches (inputs, targets): a list, a `DataLoader` or a function of the epoch,
            which count from 1. Inputs are a tensor [N, ...], several in order, or a mapping
            by name.
        validate: The same, for choosing the best epoch; a function is called with 0.
        seed: Of all that is drawn.
        checkpoint: A folder for a checkpoint after each epoch; None for none.
        resume: Go on with the checkpoint in the folder; from the beginning if there is none.
        callbacks: Told what happens.
        device: Where to train: "cpu", "cuda".
        precision: "float32": as the network's weights are; "bfloat16": convolutions and matrix
            products in that, weights as they are (`torch.autocast`).
        copy: Train a copy of the model instead.

    Raises:
        DataError: The batches are not what the network or the loss takes; before training
            where the first batch shows it.
        TrainingError: The loss is no number, or a batch fails: the stage's best weights are
            put back, the last good checkpoint stays.
        OutputError: A checkpoint cannot be written, or would replace another run's.
        UsageError: A stage trains nothing, or the checkpoint is of another run.
        BadModelError: The network takes one size of batch only.
        ToolchainError: There is no such device, or safetensors is not installed.
    """
    if copy:
        model = replace(model, module=copying.deepcopy(model.module))
    if precision not in PRECISIONS:
        raise UsageError(f"precision '{precision}' is unknown", hint=nearest(precision, PRECISIONS))
    folder = None if checkpoint is None else Path(checkpoint)
    place = _device(device)
    run = Run(
        model, list(rename(stages)), train, validate, seed, folder, list(callbacks), precision
    )
    home = run.device
    with kept_random_state(place, run.net):
        try:
            run.net.to(place)
            run.begin(resume)
            run.go()
        finally:
            run.net.to(home)
    return Tuned(model, tuple(run.state.history))


def _device(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ToolchainError(f"there is no device '{name}'", why=described(error)) from error
    return device
