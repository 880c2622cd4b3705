# SPDX-License-Identifier: Apache-2.0
"""The recipe `si-nr`: a network that bears lost packets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from splitc.finetune.recipes import Recipe
from splitc.passes.base import Pipeline
from splitc_passes.recipes.ranges import within
from splitc_passes.training.insert_dropout import InsertDropout

if TYPE_CHECKING:
    from splitc.finetune.data import Batches
    from splitc.finetune.loop import Tuned
    from splitc.finetune.stage import Stage
    from splitc.frontend.torch.model import TorchModel


@dataclass(frozen=True)
class SiNr(Recipe):
    """Train the whole network with dropout at the cut, so that it bears lost packets (SI-NR).

    Stage `all`: Adam on everything, early stop. The epoch is chosen by validation with the
    same dropout, so that epochs that only do well without losses do not win.

    Args:
        cut: Name of the layer whose output crosses the link; "" for the model's cut.
        loss_rate: r, the share of elements dropped in training and in validation, in [0, 1).
        epochs: At most.
        learning_rate: Of Adam; 1e-3 is the paper's, from scratch. 1e-4 suits a trained network
            whose batches are few.
        patience: Epochs without a better one after which training ends.
        seed: Of the masks, outside training.
        varied: Draw r from `rate_range` for each batch of training, for links whose loss rate
            changes; validation keeps `loss_rate`. The paper trains at one rate.
        rate_range: Lowest and highest r drawn.
        soft_targets: Share of the loss that compares with what the network predicted before,
            without losses, in [0, 1]; the rest compares with the labels. 0 is the paper's.
        temperature: Softens both predictions of that share.

    Raises:
        UsageError: `soft_targets`, `temperature` or `rate_range` is out of range.

    References:
        Itahara, Nishio, Yamamoto, "Packet-Loss-Tolerant Split Inference",
        GLOBECOM 2021, arXiv:2104.13629, section IV.
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015,
        arXiv:1503.02531, section 2: `soft_targets`.
    """

    name: ClassVar[str] = "si-nr"

    cut: str = ""
    loss_rate: float = 0.2
    epochs: int = 150
    learning_rate: float = 1e-3
    patience: int = 20
    seed: int = 0
    varied: bool = False
    rate_range: tuple[float, float] = (0.0, 0.8)
    soft_targets: float = 0.0
    temperature: float = 4.0

    def pipeline(self) -> Pipeline:
        """The dropout."""
        return Pipeline((InsertDropout(self.cut, self.loss_rate, self.seed),))

    def stages(self) -> Sequence[Stage]:
        """One."""
        from splitc.finetune.stage import Stage
        from splitc_passes.layers.conditions import DrawConditions

        vary = DrawConditions(rate=within("rate_range", self.rate_range)) if self.varied else None
        return (
            Stage("all", self.epochs, self.learning_rate, patience=self.patience, vary=vary),
        )  # fmt: skip

    def run(
        self, model: TorchModel, train: Batches, validate: Batches, stages: Sequence[Stage],
        how: dict[str, Any],
    ) -> Tuned:  # fmt: skip
        """Train, with the network as it is for a teacher if `soft_targets` says so."""
        if self.soft_targets:
            from splitc_passes.training.teacher import SoftTargets, learn_from

            loss = SoftTargets(self.soft_targets, self.temperature)
            stages, train, validate = learn_from(model, loss, stages, train, validate, how)
        return super().run(model, train, validate, stages, how)
