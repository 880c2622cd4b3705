# SPDX-License-Identifier: Apache-2.0
"""Recipes: passes and the stages that train what they insert, under one name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from splitc.errors import UsageError
from splitc.passes.base import Pipeline, blaming
from splitc.passes.items import item_text, parse_items

if TYPE_CHECKING:
    from splitc.finetune.data import Batches
    from splitc.finetune.loop import Tuned
    from splitc.finetune.stage import Loss, Metric, Stage
    from splitc.frontend.torch.model import TorchModel


@dataclass(frozen=True)
class Recipe:
    """Passes, then stages. A subclass is a frozen dataclass; its fields are its options.

    Like a pass it prints and parses as text: `si-nr(loss_rate=0.4)`. It defines `pipeline`
    and `stages`; one that trains in another way overrides `run`.
    """

    name: ClassVar[str]

    def pipeline(self) -> Pipeline:
        """The passes that rewrite the model before it is trained."""
        raise NotImplementedError

    def stages(self) -> Sequence[Stage]:
        """What is trained then, in order."""
        raise NotImplementedError

    def tune(
        self, model: TorchModel, train: Batches, validate: Batches, *, epochs: int | None = None,
        loss: str | Loss = "", metric: str | Metric = "", **how: Any,
    ) -> Tuned:  # fmt: skip
        """Rewrite a model and train it.

        Args:
            model: The network; its weights are trained in place.
            train: Batches, as `fine_tune` takes them.
            validate: The same, for choosing the best epoch.
            epochs: Of every stage that the recipe does not skip, instead of its own.
            loss: Instead of the cross-entropy, in the stages that train by it; see `Stage`.
            metric: Of those stages, instead of their own.
            **how: Passed on to `fine_tune`.

        Raises:
            SplitcError: What the passes and `fine_tune` raise; it names the recipe.
        """
        with blaming(self.name):
            stages = [
                replace(stage, epochs=epochs) if epochs is not None and stage.epochs else stage
                for stage in judged(self.stages(), loss, metric)
            ]
            return self.run(model, train, validate, stages, how)

    def run(
        self, model: TorchModel, train: Batches, validate: Batches, stages: Sequence[Stage],
        how: dict[str, Any],
    ) -> Tuned:  # fmt: skip
        """What `tune` does with the stages of this run."""
        from splitc.finetune.loop import fine_tune

        return fine_tune(self.pipeline()(model), stages, train, validate, **how)

    def __str__(self) -> str:
        return item_text(self.name, self)


def judged(
    stages: Sequence[Stage], loss: str | Loss = "", metric: str | Metric = ""
) -> list[Stage]:
    """Stages with another loss and metric, where they train by the targets: the cross-entropy.

    Args:
        stages: A recipe's.
        loss: See `Stage`; "" leaves the cross-entropy.
        metric: See `Stage`; "" leaves a stage's own.
    """
    return [
        replace(stage, loss=loss or stage.loss, metric=metric or stage.metric)
        if stage.loss == "cross-entropy"
        else stage
        for stage in stages
    ]


def parse_recipe(text: str) -> Recipe:
    """Read `bottlenetpp(channels=8, cut="layer2")`.

    Raises:
        UsageError: An unknown recipe or option, malformed text, or not one recipe.
    """
    found = list(parse_items("recipes", text))
    if len(found) != 1:
        hint = "write one, like si-nr(loss_rate=0.2)"
        raise UsageError(f"'{text}' is {len(found)} recipes", hint=hint)
    return found[0]
