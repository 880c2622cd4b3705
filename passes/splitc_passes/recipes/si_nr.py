# SPDX-License-Identifier: Apache-2.0
"""The recipe `si-nr`: a network that bears lost packets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from splitc.passes import Pipeline
from splitc.recipes import Recipe
from splitc_passes.insert_dropout import InsertDropout

if TYPE_CHECKING:
    from splitc.finetune import Stage


@dataclass(frozen=True)
class SiNr(Recipe):
    """Train the whole network with dropout at the cut, so that it bears lost packets (SI-NR).

    Stage `all`: Adam on everything, early stop. The epoch is chosen by validation with the
    same dropout, so that epochs that only do well without losses do not win.

    Args:
        cut: Name of the layer whose output crosses the link; "" for the model's cut.
        loss_rate: r, the share of elements dropped in training, in [0, 1).
        epochs: At most.
        learning_rate: Of Adam; 1e-3 is the paper's, from scratch. 1e-4 suits a trained network
            whose batches are few.
        patience: Epochs without a better one after which training ends.
        seed: Of the masks, outside training.

    References:
        Itahara, Nishio, Yamamoto, "Packet-Loss-Tolerant Split Inference",
        GLOBECOM 2021, arXiv:2104.13629, section IV.
    """

    name: ClassVar[str] = "si-nr"

    cut: str = ""
    loss_rate: float = 0.2
    epochs: int = 150
    learning_rate: float = 1e-3
    patience: int = 20
    seed: int = 0

    def pipeline(self) -> Pipeline:
        """The dropout."""
        return Pipeline((InsertDropout(self.cut, self.loss_rate, self.seed),))

    def stages(self) -> Sequence[Stage]:
        """One."""
        from splitc.finetune import Stage

        return (Stage("all", self.epochs, self.learning_rate, patience=self.patience),)
