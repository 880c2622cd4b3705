# SPDX-License-Identifier: Apache-2.0
"""The noise of a variational codec, and the price of what gets through it."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from splitc_passes.layers.channel import Channel


class VariationalNoise(Channel):
    """Learned Gaussian noise on a code: z = mean + sigma * eps, eps ~ N(0, 1).

        mean ──► variational_noise ──► z
        N,C,H,W                        N,C,H,W    (N,D and N,T,D: along the last axis)

    sigma has one learned value for each channel and does not depend on the input, as in
    Kolchinsky et al., and as the noise of a physical link does not in Shao et al.; Alemi et
    al. let a second output of the encoder give it for each input. So the mean is all that the
    encoder makes and the layer reads, and in eval mode, without noise, nothing is left over.

    `penalty` is `beta` times the divergence of what was sent from a standard normal,

        KL = 1/2 * sum(mean^2 + sigma^2 - log(sigma^2) - 1),    averaged over the samples,

    in nats: an upper bound on what z tells of the input. Trained with it, the encoder keeps
    what the task needs and drops the rest, which is what an inversion attack would use.

    Args:
        width: How many channels, C or D.
        rank: Of what it is given: 4 has its channels second, 3 and 2 have them last.
        beta: Weight of the divergence in the loss, per nat; from 0.
        log_variance: log(sigma^2) to begin with: -4 is a sigma of 0.14.
        seed: Of eps.

    References:
        Alemi, Fischer, Dillon, Murphy, "Deep Variational Information Bottleneck",
        ICLR 2017, arXiv:1612.00410, eq. (17).
        Kolchinsky, Tracey, Wolpert, "Nonlinear Information Bottleneck", Entropy 2019,
        arXiv:1705.02436: one variance for all inputs.
        Shao, Mao, Zhang, "Learning Task-Oriented Communication for Edge Inference", JSAC
        2022, arXiv:2102.04170: the variance is the link's.
    """

    splitc_op: ClassVar[str] = "variational_noise"

    def __init__(
        self, width: int, rank: int = 4, beta: float = 1e-3, log_variance: float = -4.0,
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(seed)
        self.log_variance = nn.Parameter(torch.full((width,), log_variance))
        self.rank = rank
        self.beta = beta
        self._sent: Tensor | None = None

    def transmit(self, x: Tensor) -> Tensor:
        """`x` with noise; remembered for `penalty` where gradients are wanted."""
        if torch.is_grad_enabled():
            self._sent = x
        drawn = torch.randn(
            x.shape, dtype=x.dtype, device=x.device, generator=self.generator(x.device)
        )
        return x + (0.5 * self._log_variance(x)).exp().to(x.dtype) * drawn

    def state(self, n: int) -> Tensor:
        """The noise's deviation, the mean over the channels, for each of `n` samples [n]."""
        return (0.5 * self.log_variance.detach()).exp().mean().expand(n)

    def divergence(self, mean: Tensor) -> Tensor:
        """KL(N(mean, sigma^2) || N(0, 1)) of a code [N, …] in nats, averaged over N."""
        spread = self._log_variance(mean)
        terms = mean.to(spread.dtype).square() + spread.exp() - spread - 1
        return 0.5 * terms.sum() / len(mean)

    def penalty(self) -> Tensor:
        """What the loss grows by for the batch that was sent last; 0 where none was since.

        A batch is counted once, so that a training loop that also evaluates stays right.
        """
        sent, self._sent = self._sent, None
        if sent is None:
            return self.log_variance.new_zeros(())
        return self.beta * self.divergence(sent)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"{len(self.log_variance)}, beta={self.beta:g}"

    def _log_variance(self, x: Tensor) -> Tensor:
        shape = (1, -1, 1, 1) if self.rank == 4 else (-1,)
        return self.log_variance.reshape(shape).expand_as(x)

    def __getstate__(self) -> dict[str, Any]:
        # what was sent hangs on the step's gradients, and a copy has no part in that step
        return {**self.__dict__, "_sent": None}
