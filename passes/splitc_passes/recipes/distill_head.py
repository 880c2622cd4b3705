# SPDX-License-Identifier: Apache-2.0
"""The recipe `distill-head`: a small head, trained to what the old one gives."""

from __future__ import annotations

import copy as copying
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from splitc.finetune.recipes import Recipe
from splitc.passes.base import Pipeline
from splitc_passes.training.distill_head import Activation, DistillHead, head_cut

if TYPE_CHECKING:
    from splitc.finetune.data import Batches
    from splitc.finetune.loop import Tuned
    from splitc.finetune.stage import Stage
    from splitc.frontend.torch.model import TorchModel


@dataclass(frozen=True)
class Distil(Recipe):
    """Put a small student in the place of the head and train it to the old head's results.

    Stage `head`: the student alone, by the mean squared error between what it gives and what
    the old head, frozen in eval mode, gives for the same inputs; no label is read, and the
    best epoch is that of the lowest error. Stage `everything`: the whole network on the
    labels, at a low learning rate.

    Args:
        cut: Name of the layer that the head ends with; "" for the model's cut.
        max_head_bytes: What the new head may take on the device: weights and live activations.
        width: Channels of its first layer; 0 for as many as `max_head_bytes` allows.
        depth: Convolutions in the student; 0 for as few as the extents need.
        bottleneck: Channels of a narrow layer before the last, which is what crosses; 0 for none.
        activation: Whether the student ends with a ReLU; "auto" where the boundary does.
        head_epochs: Of the first stage, at most.
        head_learning_rate: Of the first stage.
        everything_epochs: Of the second stage, at most; 0 leaves the tail as it is, bit for bit.
        learning_rate: Of the second stage.
        patience: Epochs without a better one after which a stage ends.
        seed: Of the student's first weights.

    References:
        Matsubara, Baidya, Callegaro, Levorato, Singh, "Distilled Split Deep Neural Networks
        for Edge-Assisted Real-Time Systems", HotEdgeVideo 2019, doi:10.1145/3349614.3356022:
        the first stage.
        Matsubara, Callegaro, Singh, Levorato, Restuccia, "BottleFit", WoWMoM 2022,
        arXiv:2201.02693: the second.
    """

    name: ClassVar[str] = "distill-head"

    cut: str = ""
    max_head_bytes: int = 0
    width: int = 0
    depth: int = 0
    bottleneck: int = 0
    activation: Activation = "auto"
    head_epochs: int = 50
    head_learning_rate: float = 1e-3
    everything_epochs: int = 20
    learning_rate: float = 1e-4
    patience: int = 10
    seed: int = 0

    def pipeline(self) -> Pipeline:
        """The student."""
        return Pipeline((
            DistillHead(
                self.cut, self.max_head_bytes, self.width, self.depth, self.bottleneck,
                self.activation, self.seed,
            ),
        ))  # fmt: skip

    def stages(self) -> Sequence[Stage]:
        """Head, everything."""
        from splitc.finetune.stage import Stage

        return (
            Stage("head", self.head_epochs, self.head_learning_rate, loss="mse",
                  patience=self.patience),
            Stage("everything", self.everything_epochs, self.learning_rate,
                  patience=self.patience),
        )  # fmt: skip

    def run(
        self, model: TorchModel, train: Batches, validate: Batches, stages: Sequence[Stage],
        how: dict[str, Any],
    ) -> Tuned:  # fmt: skip
        """Train the student by the old head, then everything.

        Each stage has a folder of its own in `checkpoint`.
        """
        from splitc.finetune.loop import Tuned, fine_tune
        from splitc_passes.training.teacher import Taught, student_head, teacher_head

        if how.pop("copy", False):
            model = replace(model, module=copying.deepcopy(model.module))
        folder, device = how.pop("checkpoint", None), how.get("device", "cpu")
        made = self.pipeline()(model)
        student = student_head(made, head_cut(model, self.cut).boundary[0].name)
        teacher = teacher_head(model, self.cut)
        head, everything = stages
        if everything.epochs:  # what is wrong with the labels shows before the head is trained
            fine_tune(made, [replace(everything, epochs=0)], train, validate)
        taught = [
            Taught(data, which, teacher.to(device), model, device)
            for data, which in ((train, "train"), (validate, "validate"))
        ]
        tuned = Tuned(made, ())
        for stage, part, data in (
            (head, student, taught), (everything, made, (train, validate)),
        ):  # fmt: skip
            if stage.epochs:
                own = None if folder is None else Path(folder) / stage.name
                done = fine_tune(part, [stage], *data, checkpoint=own, **how)
                tuned = Tuned(made, tuned.history + done.history)
        return tuned
