# SPDX-License-Identifier: Apache-2.0
"""The recipe `bottlenetpp`: a learned codec, trained in three stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from splitc.errors import UsageError
from splitc.finetune.recipes import Recipe
from splitc.passes.base import Pipeline
from splitc_passes.codecs.insert_bottleneck import Activation, InsertBottleneck, Link, State
from splitc_passes.recipes.ranges import within

if TYPE_CHECKING:
    from splitc.finetune.data import Batches
    from splitc.finetune.loop import Tuned
    from splitc.finetune.stage import Stage
    from splitc.frontend.torch.model import TorchModel


@dataclass(frozen=True)
class BottleNetPP(Recipe):
    """Train a learned codec around a noisy link, as BottleNet++ does.

    Stage `base`: the network without the codec; left out for a trained one. Stage `codec`:
    the codec alone, the base network frozen with its batch norms, the condition of the
    channel drawn anew for each batch. Stage `everything`: all of it, at a low learning rate.

    Another compression ratio on the same base network needs the codec alone again:
    `everything_epochs=0` leaves the base as it is, bit for bit.

    Of what the encoder is told there are the paper's three cases: `state="known"` in training
    and test, `"assumed"` known in training only, `"none"` unknown. Without a state and with
    `varied=false` the codec is trained for the one condition.

    Args:
        channels: C', channels of the code.
        cut: Name of the layer whose output crosses the link; "" for the model's cut.
        bits: Bits of a value that crosses; 32 sends values as they are.
        activation: What the decoder ends in: "relu", or "none" where the tensor can be negative.
        channel: The link: none, awgn, erasure or packets.
        psnr_db: Condition of "awgn" in validation, in dB.
        erasure_rate: Condition of "erasure" in validation.
        loss_rate: Condition of "packets" in validation.
        state: What the encoder is told of the condition.
        varied: Whether training draws the condition from the ranges below.
        psnr_db_range: Lowest and highest, in dB.
        rate_range: Lowest and highest rate of erasures or losses.
        base_epochs: Of the first stage, at most.
        base_learning_rate: Of the first stage.
        codec_epochs: Of the second stage, at most.
        codec_learning_rate: Of the second stage.
        everything_epochs: Of the third stage, at most.
        learning_rate: Of the third stage.
        patience: Epochs without a better one after which a stage ends.
        seed: Of the codec's first weights.
        soft_targets: Share of the loss that compares with what the network predicted before,
            without a codec, in [0, 1]; the rest compares with the labels. 0 is the paper's.
        temperature: Softens both predictions of that share.

    Raises:
        UsageError: A range is empty or outside what its channel takes.

    References:
        Shao, Zhang, "BottleNet++: An End-to-End Approach for Feature Compression in
        Device-Edge Co-Inference Systems", ICC Workshops 2020, arXiv:1910.14315, section IV.
    """

    name: ClassVar[str] = "bottlenetpp"

    channels: int
    cut: str = ""
    bits: int = 8
    activation: Activation = "relu"
    channel: Link = "awgn"
    psnr_db: float = 20.0
    erasure_rate: float = 0.01
    loss_rate: float = 0.1
    state: State = "none"
    varied: bool = True
    psnr_db_range: tuple[float, float] = (10.0, 25.0)
    rate_range: tuple[float, float] = (0.01, 0.15)
    base_epochs: int = 0
    base_learning_rate: float = 1e-3
    codec_epochs: int = 50
    codec_learning_rate: float = 1e-3
    everything_epochs: int = 20
    learning_rate: float = 1e-5
    patience: int = 10
    seed: int = 0
    soft_targets: float = 0.0
    temperature: float = 4.0

    def pipeline(self) -> Pipeline:
        """The codec with its channel."""
        return Pipeline((
            InsertBottleneck(
                self.channels, self.cut, self.bits, self.activation, self.channel, self.psnr_db,
                self.erasure_rate, self.loss_rate, state=self.state, seed=self.seed,
            ),
        ))  # fmt: skip

    def stages(self) -> Sequence[Stage]:
        """Base, codec, everything."""
        from splitc.finetune.stage import Stage
        from splitc_passes.layers.conditions import DrawConditions

        rates = within("rate_range", self.rate_range)
        if not self.psnr_db_range[0] <= self.psnr_db_range[1]:
            raise UsageError("psnr_db_range is empty", why="its lowest is above its highest")
        drawn = DrawConditions(self.psnr_db_range, rates)
        vary = drawn if self.varied and self.channel != "none" else None
        base, codec, everything = self.base_epochs, self.codec_epochs, self.everything_epochs
        return (
            Stage("base", base, self.base_learning_rate, patience=self.patience,
                  without_link=True),
            Stage("codec", codec, self.codec_learning_rate, "link.*", patience=self.patience,
                  vary=vary),
            Stage("everything", everything, self.learning_rate, patience=self.patience,
                  vary=vary),
        )  # fmt: skip

    def run(
        self, model: TorchModel, train: Batches, validate: Batches, stages: Sequence[Stage],
        how: dict[str, Any],
    ) -> Tuned:  # fmt: skip
        """Train, with the network as it is for a teacher if `soft_targets` says so."""
        if self.soft_targets and any(s.epochs for s in stages if s.without_link):
            raise UsageError("soft_targets need a network that is trained",
                             why="stage 'base' trains it", hint="base_epochs=0")  # fmt: skip
        if self.soft_targets:
            from splitc_passes.training.teacher import SoftTargets, learn_from

            loss = SoftTargets(self.soft_targets, self.temperature)
            stages, train, validate = learn_from(model, loss, stages, train, validate, how)
        return super().run(model, train, validate, stages, how)
