# SPDX-License-Identifier: Apache-2.0
"""The binary erasure channel over quantised values."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from splitc_passes.layers import settings
from splitc_passes.layers.channel import Channel
from splitc_passes.layers.settings import Setting


class BitErasure(Channel):
    """Values in [0, 1] as n bits, each erased with rate p; an erased bit reads as a half.

        x ──► quantise ──► erase ──► y
        N,…   levels 0…2ⁿ-1          N,…

    x~ = round(x (2ⁿ - 1)) / (2ⁿ - 1), values outside [0, 1] sent as its ends. The receiver
    knows which bits are missing and takes the mean of 0 and 1 for each: of 110 with the
    left bit erased it reads 4, so y = 4/7. Gradients pass straight through both.

    Args:
        rate: p, the share of bits erased, in [0, 1); or one for each sample [N].
        bits: n, from 1 to 16.
        seed: Of the erasures.

    Raises:
        UsageError: A setting is out of its range, also when it is set later.

    References:
        Shao, Zhang, "BottleNet++", ICC Workshops 2020, arXiv:1910.14315, section III-B.
    """

    splitc_op: ClassVar[str] = "bit_erasure"
    rate = Setting(settings.rate)
    bits = Setting(settings.bit_count)

    def __init__(self, rate: float | Tensor = 0.01, bits: int = 8, seed: int = 0) -> None:
        super().__init__(seed)
        self.rate = rate
        self.bits = bits

    def transmit(self, x: Tensor) -> Tensor:
        """What is read of `x`."""
        # Half floats hold the levels of up to 11 bits; the sum of 16 needs more.
        exact = x.detach().to(torch.promote_types(x.dtype, torch.float32))
        top = 2**self.bits - 1
        levels = (exact.clamp(0, 1) * top).round().nan_to_num().to(torch.int32)
        rate = self.per_sample(self.rate, exact)
        read = torch.zeros_like(exact)
        for weight in (2**i for i in range(self.bits)):
            erased = self.uniform(x.shape, x.device) < rate
            read += torch.where(erased, weight / 2, (levels & weight).to(exact.dtype))
        # x - x is 0 and carries the gradient; a NaN stays one.
        return (read / top).to(x.dtype) + (x - x.detach())

    def state(self, n: int) -> Tensor:
        """The share of bits erased, for each of `n` samples [n]."""
        return self.conditions(self.rate, n)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"rate={self.rate}, bits={self.bits}"
