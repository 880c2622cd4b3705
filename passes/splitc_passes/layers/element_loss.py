# SPDX-License-Identifier: Apache-2.0
"""The channel that loses elements independently."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from splitc_passes.layers import settings
from splitc_passes.layers.packets import LossyChannel, Scale
from splitc_passes.layers.settings import Setting


class ElementLoss(LossyChannel):
    """Elements lost one by one with rate p: packet loss of packets of one element.

        x ──► lose ──► 0 where missing, scale ──► y
        N,…                                       N,…

    Gradients are those of the elements that came through.

    Args:
        rate: p, the share of elements lost, in [0, 1); or one for each sample [N].
        scale: "rate" multiplies what came by 1/(1 - p); "realised" by the inverse of the
            share that came; "none" leaves it.
        seed: Of the losses.

    Raises:
        UsageError: A setting is out of its range, also when it is set later.
    """

    splitc_op: ClassVar[str] = "element_loss"
    rate = Setting(settings.rate)

    def __init__(self, rate: float | Tensor = 0.1, scale: Scale = "rate", seed: int = 0) -> None:
        super().__init__(scale, seed)
        self.rate = rate

    def arrived(self, x: Tensor) -> Tensor:
        """Which elements of each sample came through [N, elements]."""
        rate = self.conditions(self.rate, len(x)).to(x.device, torch.float32)
        return self.uniform((len(x), math.prod(x.shape[1:])), x.device) >= rate[:, None]

    def state(self, n: int) -> Tensor:
        """The share of elements lost, for each of `n` samples [n]."""
        return self.conditions(self.rate, n)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"rate={self.rate}, scale={self.scale}"
