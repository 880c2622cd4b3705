# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""One stage of fine-tuning: what is trained, how fast, towards what."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn, optim

from splitc.errors import UsageError, nearest

LINK = "link."
"""What the names of all that passes insert begin with."""

Loss = Callable[[Any, Any], Tensor]
Metric = Callable[[Any, Any], "float | Tensor"]
MakeOptimizer = Callable[[Iterable[nn.Parameter], float], optim.Optimizer]


@dataclass(frozen=True)
class Stage:
    """One stage of fine-tuning.

    Args:
        name: For people, checkpoints and errors.
        epochs: How many at most; 0 skips the stage.
        learning_rate: Of the optimizer, at the beginning.
        trainable: Patterns of the names of parameters that are trained: `link.*` are those of
            inserted layers, `*` is all, `!link.*` behind it takes some out again.
        loss: "cross-entropy" [N, C, ...] against class numbers [N, ...] or shares of the
            results' shape, "mse", or a function of (results, targets) that gives a scalar;
            results are what the network gives, the one tensor where it gives one.
            Behind a softmax the cross-entropy takes the logarithm of what that gives.
        metric: "accuracy", "loss" (lower is better), or a function of (results, targets)
            that gives a mean over the batch, higher better. By default accuracy with the
            cross-entropy, else the validation loss. Among equals the lower loss is better.
        optimizer: "adam", "sgd" (momentum 0.9), or a function of (parameters, learning rate).
        weight_decay: Of "adam" and "sgd".
        schedule: "constant", or "cosine": the learning rate falls to 0 over the epochs, at each
            batch where the number of batches is known.
        patience: Epochs without a better metric after which the stage ends; 0 for never.
        keep: The weights that the stage leaves: of its "best" epoch by the metric, the weights it
            began with among them, or of its "last": right where the network has seen the
            validation data before, which makes the beginning look better than it is.
        vary: Called before each batch with the network and a seeded generator, to draw the
            conditions of its channels. They are as before in validation and afterwards.
        validate_on_channel: Whether channels are on in validation: the same losses at
            every epoch, in the conditions they were built with.
        without_link: Train the network without the layers that passes inserted.

    Raises:
        UsageError: A value is out of range, or a name unknown.
    """

    name: str
    epochs: int
    learning_rate: float = 1e-3
    trainable: str | tuple[str, ...] = "*"
    loss: str | Loss = "cross-entropy"
    metric: str | Metric = ""
    optimizer: str | MakeOptimizer = "adam"
    weight_decay: float = 0.0
    schedule: str = "constant"
    patience: int = 0
    keep: str = "best"
    vary: Callable[[nn.Module, torch.Generator], None] | None = None
    validate_on_channel: bool = True
    without_link: bool = False

    def __post_init__(self) -> None:
        known = {
            "loss": ("cross-entropy", "mse"),
            "metric": ("", "accuracy", "loss"),
            "optimizer": ("adam", "sgd"),
            "schedule": ("constant", "cosine"),
            "keep": ("best", "last"),
        }
        for key, names in known.items():
            value = getattr(self, key)
            if isinstance(value, str) and value not in names:
                raise UsageError(f"stage '{self.name}': {key} '{value}' is unknown",
                                 hint=nearest(value, [n for n in names if n]))  # fmt: skip
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise UsageError(f"stage '{self.name}': learning_rate {self.learning_rate:g} is not "
                             "above 0")  # fmt: skip
        for key in ("epochs", "patience", "weight_decay"):
            if not getattr(self, key) >= 0:
                raise UsageError(f"stage '{self.name}': {key} {getattr(self, key)} is below 0")

    @property
    def patterns(self) -> tuple[str, ...]:
        """`trainable` as a tuple."""
        return (self.trainable,) if isinstance(self.trainable, str) else self.trainable

    def trains(self, name: str) -> bool:
        """Whether the patterns take a parameter of that name; the last that fits decides."""
        taken = False
        for pattern in self.patterns:
            if fnmatch.fnmatchcase(name, pattern.removeprefix("!")):
                taken = not pattern.startswith("!")
        return taken

    def rate(self, epoch: int, done: float = 0.0) -> float:
        """The learning rate in an epoch, which count from 1, with a share of it done."""
        if self.schedule == "constant":
            return self.learning_rate
        along = (epoch - 1 + done) / self.epochs
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * along))

    def parameters(self, module: nn.Module) -> dict[str, nn.Parameter]:
        """The parameters that are trained, each once, by name.

        Raises:
            UsageError: There are none.
        """
        named = list(module.named_parameters(remove_duplicate=False))
        ids = {id(p) for name, p in named if self.trains(name) and p.is_floating_point()}
        found = {name: p for name, p in module.named_parameters() if id(p) in ids}
        if not found:
            wanted = " ".join(self.patterns)
            raise UsageError(
                f"stage '{self.name}' trains nothing", why=f"no parameter is named {wanted}",
                hint=nearest(wanted, [name for name, _ in named]),
            )  # fmt: skip
        return found

    def set_modes(self, module: nn.Module) -> None:
        """Train mode for what is trained, eval mode for the rest.

        A module whose parameters are all frozen computes as at inference: its batch norms
        do not move. One without parameters follows its own name. Channels are always on, and
        inserted modules without parameters as in training, so that gradients pass them.
        """
        ids = {id(p) for p in self.parameters(module).values()}
        for name, each in module.named_modules():
            own = [id(p) for p in each.parameters()]
            if hasattr(each, "transmit"):
                each.training = True
            elif own:
                each.training = any(one in ids for one in own)
            else:
                each.training = name.startswith(LINK) or self.trains(name)

    @contextmanager
    def begin(self, module: nn.Module) -> Generator[dict[str, nn.Parameter]]:
        """Set a network up for the stage: only what is trained has gradients, modes are set.

        Afterwards both are as they were. For a training loop of one's own:

            with stage.begin(module) as parameters:
                steps = optimizer(stage, module)
                ...

        Args:
            module: The network, in whatever mode.

        Yields:
            The parameters that are trained, by name.
        """
        trained = self.parameters(module)
        ids = {id(p) for p in trained.values()}
        with kept_modes(module):
            for parameter in module.parameters():
                parameter.requires_grad_(id(parameter) in ids)
            self.set_modes(module)
            yield trained

    @property
    def is_measured_on_channel(self) -> bool:
        """Whether validation runs with the channels on."""
        return self.validate_on_channel and not self.without_link

    def described(self) -> dict[str, Any]:
        """The settings as text and numbers; functions by their name."""
        return {
            key: value if isinstance(value, str | int | float | tuple) else _name_of(value)
            for key, value in vars(self).items()
        }


@contextmanager
def kept_modes(module: nn.Module) -> Generator[None]:
    """Give back every module's mode and every parameter's gradient flag."""
    modes = [(each, each.training) for each in module.modules()]
    flags = [(p, p.requires_grad) for p in module.parameters()]
    try:
        yield
    finally:
        for each, mode in modes:
            each.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def _name_of(value: object) -> str:
    if value is None or is_dataclass(value):
        return repr(value)
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def optimizer(stage: Stage, module: nn.Module) -> optim.Optimizer:
    """The stage's optimizer over the parameters that it trains."""
    parameters = list(stage.parameters(module).values())
    if not isinstance(stage.optimizer, str):
        return stage.optimizer(parameters, stage.learning_rate)
    if stage.optimizer == "adam":
        return optim.Adam(parameters, stage.learning_rate, weight_decay=stage.weight_decay)
    return optim.SGD(parameters, stage.learning_rate, 0.9, weight_decay=stage.weight_decay)


def rename(stages: Iterable[Stage]) -> Iterator[Stage]:
    """The stages, those of the same name numbered."""
    seen: dict[str, int] = {}
    for stage in stages:
        seen[stage.name] = count = seen.get(stage.name, 0) + 1
        yield stage if count == 1 else replace(stage, name=f"{stage.name}-{count}")
