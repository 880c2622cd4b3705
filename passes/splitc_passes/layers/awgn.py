# SPDX-License-Identifier: Apache-2.0
"""The channel that adds white Gaussian noise."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from splitc_passes.layers import settings
from splitc_passes.layers.channel import Channel


class Awgn(Channel):
    """Additive white Gaussian noise: y = x + n, n ~ N(0, sigma²), PSNR = 10 log10(1 / sigma²).

        x ──► awgn ──► y
        N,…            N,…

    The peak of the signal is 1: values are taken to be in [0, 1], as a sigmoid gives
    them. What is received may lie outside. Gradients pass unchanged.

    Args:
        psnr_db: Peak signal to noise ratio in dB; or one for each sample [N].
        seed: Of the noise.
        sigma: The noise's standard deviation, or one for each sample, instead of
            `psnr_db`. Either can be set later; the other follows.

    Raises:
        UsageError: `psnr_db` is no number, or `sigma` is below 0; also when set later.

    References:
        Shao, Zhang, "BottleNet++", ICC Workshops 2020, arXiv:1910.14315, section III-B.
    """

    splitc_op: ClassVar[str] = "awgn"

    def __init__(
        self,
        psnr_db: float | Tensor = 20.0,
        seed: int = 0,
        *,
        sigma: float | Tensor | None = None,
    ) -> None:
        super().__init__(seed)
        self._psnr_db: float | Tensor
        self._sigma: float | Tensor
        if sigma is None:
            self.psnr_db = psnr_db
        else:
            self.sigma = sigma

    @property
    def psnr_db(self) -> float | Tensor:
        """Peak signal to noise ratio in dB."""
        return self._psnr_db

    @psnr_db.setter
    def psnr_db(self, value: float | Tensor) -> None:
        self._psnr_db = settings.decibels("psnr_db", value)
        self._sigma = 10 ** (-self._psnr_db / 20)

    @property
    def sigma(self) -> float | Tensor:
        """Standard deviation of the noise."""
        return self._sigma

    @sigma.setter
    def sigma(self, value: float | Tensor) -> None:
        self._sigma = settings.deviation("sigma", value)
        decibels = -20 * torch.as_tensor(self._sigma, dtype=torch.float64).log10()
        self._psnr_db = decibels if isinstance(self._sigma, Tensor) else decibels.item()

    def transmit(self, x: Tensor) -> Tensor:
        """`x` with noise."""
        exact = torch.float64 if x.dtype == torch.float64 else torch.float32
        noise = torch.randn(
            x.shape, dtype=exact, device=x.device, generator=self.generator(x.device)
        )
        return x + noise.to(x.dtype) * self.per_sample(self.sigma, x)

    def state(self, n: int) -> Tensor:
        """The noise's standard deviation, for each of `n` samples [n]."""
        return self.conditions(self.sigma, n)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"psnr_db={self.psnr_db}"
