# SPDX-License-Identifier: Apache-2.0
"""The dropout that emulates packet loss in training."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from splitc_passes.layers import settings
from splitc_passes.layers.channel import Channel
from splitc_passes.layers.settings import Setting


class LinkDropout(Channel):
    """Dropout at the cut: x = y * m / (1 - r), m elementwise Bernoulli(1 - r).

        y ──► link_dropout ──► x
        N,…                    N,…

    Args:
        rate: r, the share of elements dropped, in [0, 1); or one for each sample [N].
        seed: Of the masks.

    Raises:
        UsageError: The rate is outside [0, 1), also when it is set later.

    References:
        Itahara, Nishio, Yamamoto, "Packet-Loss-Tolerant Split Inference",
        GLOBECOM 2021, arXiv:2104.13629, eq. (2).
    """

    splitc_op: ClassVar[str] = "link_dropout"
    rate = Setting(settings.rate)

    def __init__(self, rate: float | Tensor = 0.1, seed: int = 0) -> None:
        super().__init__(seed)
        self.rate = rate

    def transmit(self, x: Tensor) -> Tensor:
        """`x` with elements dropped and the others scaled up."""
        kept = 1 - self.per_sample(self.rate, x)
        drawn = self.uniform(x.shape, x.device)
        return x * (drawn < kept) / kept

    def state(self, n: int) -> Tensor:
        """The share dropped, for each of `n` samples [n]."""
        return self.conditions(self.rate, n)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"rate={self.rate}"
