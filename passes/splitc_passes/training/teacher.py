# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""What a network learns from an older one: its results, as targets or beside the labels."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional

from splitc.errors import UsageError
from splitc.finetune import losses
from splitc.finetune.data import Batches, count, read, split
from splitc.finetune.losses import only
from splitc.finetune.stage import Stage
from splitc.frontend.torch.batch import any_batch
from splitc.frontend.torch.model import TorchModel
from splitc.ir.cut import Cut
from splitc_passes.training.distill_head import head_cut


def teacher_head(model: TorchModel, cut: str = "") -> fx.GraphModule:
    """A frozen copy of the head that `distill-head` replaces.

    Args:
        model: The network before the pass.
        cut: The layer that its head ends with; "" for the model's cut.

    Returns:
        A module in eval mode, from the input [N, C, H, W] of any batch to the boundary.

    Raises:
        IllegalCutError: Not one floating-point tensor crosses there.
        BadModelError: The head takes one size of batch only.
    """
    head, _ = model.split(head_cut(model, cut))
    return _frozen(head)


def _frozen(model: TorchModel) -> fx.GraphModule:
    made = copy.deepcopy(any_batch(model))
    for each in made.modules():
        each.training = False
    return made.requires_grad_(False)


def student_head(model: TorchModel, tensor: str) -> TorchModel:
    """The part of a rewritten network from its input to the student's last layer.

    Training it trains the network, with which it shares its weights.

    Args:
        model: The network behind the pass.
        tensor: What crossed before the pass, after which the student is named.
    """
    last = [name for name in model.graph.index if name.startswith(f"{tensor}.student")][-1]
    student, _ = model.split(Cut.sending(model.graph, last))
    return student


class Taught:
    """Batches (inputs, what the teacher makes of them), as `fine_tune` takes data.

    Args:
        data: Batches (inputs, targets) for the network.
        which: "train" or "validate", for errors.
        teacher: The network, or head, that is learned from.
        model: The network, for the form of its inputs.
        device: Where the teacher is.
        beside: Give (targets, what the teacher makes) instead; else the targets are not read.
        precision: The teacher's, as `fine_tune` takes it.
    """

    def __init__(
        self, data: Batches, which: str, teacher: fx.GraphModule, model: TorchModel,
        device: str | torch.device, *, beside: bool = False, precision: str = "float32",
    ) -> None:  # fmt: skip
        self.data = data
        self.which = which
        self.teacher = teacher
        self.entries = model.graph.inputs
        self.device = torch.device(device)
        self.beside = beside
        self.casts = precision == "bfloat16"
        # what `fine_tune` seeds of a loader
        self.generator: Any = getattr(data, "generator", None)
        self.sampler: Any = getattr(data, "sampler", None)
        self.batch_sampler: Any = getattr(data, "batch_sampler", None)

    def __call__(self, epoch: int) -> Iterator[tuple[Any, Any]]:
        """The batches of an epoch.

        Raises:
            DataError: The data is not what the network takes.
        """
        for batch in read(self.data, self.which, epoch):
            inputs, targets = split(batch, self.which, self.entries, self.device)
            with torch.no_grad(), torch.autocast(
                self.device.type, torch.bfloat16, enabled=self.casts
            ):  # fmt: skip
                made = only(self.teacher(*inputs))
            yield inputs, (targets, made) if self.beside else made

    def __len__(self) -> int:
        known = count(self.data)
        if known is None:
            raise TypeError("how many batches there are is not known before")
        return known


@dataclass(frozen=True)
class SoftTargets:
    """A loss: cross-entropy with the labels, and with what a teacher gives.

        (1 - share) CE(z, label) + share T^2 KL(softmax(z_teacher / T), softmax(z / T))

    Args:
        share: Of the teacher in the loss, in [0, 1].
        temperature: T, which softens both distributions.
        behind_softmax: Whether the network ends in a softmax, so that its logarithms are z.

    Raises:
        UsageError: A value is out of range.

    References:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015,
        arXiv:1503.02531, section 2.
    """

    share: float
    temperature: float = 4.0
    behind_softmax: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UsageError(f"soft_targets {self.share:g} is not in [0, 1]")
        if not 0 < self.temperature < float("inf"):
            raise UsageError(f"temperature {self.temperature:g} is not above 0")

    def __call__(self, results: Any, targets: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of results [N, C, ...] for (class numbers [N, ...], the teacher's results)."""
        labels, taught = targets
        scores, wanted = (self._scores(each) for each in (only(results), taught))
        soft = functional.kl_div(
            (scores / self.temperature).log_softmax(1), (wanted / self.temperature).log_softmax(1),
            reduction="none", log_target=True,
        ).sum(1).mean()  # fmt: skip
        hard = functional.cross_entropy(scores, labels)
        return (1 - self.share) * hard + self.share * self.temperature**2 * soft

    def _scores(self, results: Tensor) -> Tensor:
        return results.float().clamp_min(1e-12).log() if self.behind_softmax else results.float()


def accuracy(results: Any, targets: tuple[Tensor, Tensor]) -> Tensor:
    """The accuracy by the labels, where the targets are (labels, the teacher's results)."""
    return losses.accuracy(results, targets[0])


def learn_from(
    teacher: TorchModel, loss: SoftTargets, stages: Sequence[Stage], train: Batches,
    validate: Batches, how: Mapping[str, Any],
) -> tuple[list[Stage], Taught, Taught]:  # fmt: skip
    """Stages and data for learning from a network as it is now, which is copied.

    Args:
        teacher: The network to learn from.
        loss: How much of it.
        stages: Of classification.
        train: Batches (inputs, class numbers).
        validate: The same.
        how: What `fine_tune` will be given: device and precision are read.

    Raises:
        UsageError: A stage has a loss of its own, or the network several results.
        BadModelError: The network takes one size of batch only.
    """
    graph = teacher.graph
    for stage in stages:
        if stage.loss != "cross-entropy" or len(graph.outputs) != 1:
            what = f"stage '{stage.name}' cannot learn from soft targets"
            raise UsageError(what, why="it does not train one result by the cross-entropy")
    last = graph.layers[graph.producer[graph.outputs[0]]].op
    loss = replace(loss, behind_softmax=last == "softmax")
    device = how.get("device", "cpu")
    frozen = _frozen(teacher).to(device)
    precision = how.get("precision", "float32")
    taught = [
        Taught(data, which, frozen, teacher, device, beside=True, precision=precision)
        for data, which in ((train, "train"), (validate, "validate"))
    ]
    made = [
        replace(stage, loss=loss, metric=accuracy)
        if stage.metric in ("", "accuracy")
        else replace(stage, loss=loss)
        for stage in stages
    ]
    return made, taught[0], taught[1]
