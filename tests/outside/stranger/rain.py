# SPDX-License-Identifier: Apache-2.0
"""A pass with a channel of its own: what rain does to a radio link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

from torch import Tensor

from splitc.errors import UsageError
from splitc.ir.chain import Insertion
from splitc.ir.cut import Cut
from splitc.ir.model import Model
from splitc.passes import Pass
from splitc.passes.crossing import crossing_tensor
from splitc_passes.layers.channel import Channel

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Rain(Pass):
    """Insert a channel that weakens what crosses, as rain does.

    Rewrite::

        %t = conv(%x)            %t = conv(%x)
        %y = relu(%t)     ->     %t.rain = rain(%t)
                                 %y = relu(%t.rain)

    Args:
        cut: Name of the layer whose output crosses the link; "" for the model's cut.
        loss_db: How much weaker values arrive. At least 0.
    """

    name: ClassVar[str] = "rain"

    cut: str = ""
    loss_db: float = 3.0

    def requires(self, model: Model) -> None:
        """Rain makes no signal stronger."""
        if self.loss_db < 0:
            raise UsageError(f"loss_db={self.loss_db:g} is below 0")
        crossing_tensor(model, self.cut)

    def apply(self, model: M) -> M:
        """The model with the channel, cut before it."""
        tensor = crossing_tensor(model, self.cut)
        layer = Insertion(
            "rain", "rain", tensor.static_shape, tensor.dtype,
            modules=lambda: [Fading(self.loss_db)],
        )  # fmt: skip
        made = model.insert(tensor.name, [layer])
        return made.with_cut(Cut.sending(made.graph, tensor.name))


class Fading(Channel):
    """x = 10^(-d/20) y: an attenuation of d decibels.

    Args:
        loss_db: d.
    """

    splitc_op: ClassVar[str] = "rain"

    def __init__(self, loss_db: float) -> None:
        super().__init__()
        self.loss_db = loss_db

    def transmit(self, x: Tensor) -> Tensor:
        """`x`, weaker."""
        return x * 10 ** (-self.loss_db / 20)

    def state(self, n: int) -> Tensor:
        """The attenuation in decibels, for each of `n` samples [n]."""
        return self.conditions(self.loss_db, n)
