# SPDX-License-Identifier: Apache-2.0
"""Conditions of a network's channels, drawn anew for each batch of training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from splitc_passes.layers.awgn import Awgn
from splitc_passes.layers.channel import Channel, channels


@dataclass(frozen=True)
class DrawConditions:
    """Draw the condition of every channel, uniform in a range; `Stage.vary` takes it.

    Args:
        psnr_db: Lowest and highest ratio of the channels with noise, in dB.
        rate: Lowest and highest rate of all others, in [0, 1).
    """

    psnr_db: tuple[float, float] = (10.0, 25.0)
    rate: tuple[float, float] = (0.01, 0.15)

    def __call__(self, module: nn.Module, generator: torch.Generator) -> None:
        """Set the channels of a network, each for itself."""
        for channel in channels(module):
            low, high = self.psnr_db if isinstance(channel, Awgn) else self.rate
            drawn = low + (high - low) * float(torch.rand((), generator=generator))
            _set(channel, drawn)


def _set(channel: Channel, condition: float) -> None:
    if isinstance(channel, Awgn):
        channel.psnr_db = condition
    elif hasattr(channel, "rate"):
        setattr(channel, "rate", condition)  # noqa: B010 - not every channel has one
