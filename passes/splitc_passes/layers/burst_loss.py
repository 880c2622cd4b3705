# SPDX-License-Identifier: Apache-2.0
"""The channel that loses packets in bursts."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from splitc.errors import UsageError
from splitc.link.loss_latency import GilbertElliott
from splitc.link.packets import PAYLOAD_BYTES, Scale
from splitc_passes.layers import settings
from splitc_passes.layers.packets import PacketChannel


class BurstLoss(PacketChannel):
    """Packets lost in bursts: the Gilbert-Elliott model over packets of permuted elements.

        x ──► flatten, permute, s elements a packet ──► lose ──► 0 where missing, scale ──► y
        N,…                                                                                 N,…

    A Markov chain of two states, received and lost: p_bg = 1/L from lost to received and
    p_gb = p_bg p / (1 - p) back, so that a share p is lost, L packets at a time in the
    mean. Every sample begins in the chain's stationary state. L = 1/(1 - p) is independent
    loss. Gradients are those of the elements that came through.

    Args:
        rate: p, the share of packets lost, in [0, 1); or one for each sample [N].
        mean_burst: L, mean length of a burst in packets, from 1 and from p / (1 - p), or
            there is no such chain; or one for each sample [N].
        payload_bytes: Bytes of elements that one packet holds.
        element_bytes: Bytes of an element on the link, 0.5 for 4 bits; None for those of
            its dtype.
        scale: "rate" multiplies what came by 1/(1 - p); "realised" by the inverse of the
            share of elements that came; "none" leaves it.
        seed: Of the losses.
        order_seed: Of the order that elements are sent in, which both sides know.

    Raises:
        UsageError: A setting is out of its range or a packet holds no element, also when
            it is set later.

    References:
        Gilbert, "Capacity of a Burst-Noise Channel", Bell System Technical Journal 39,
        1960; Elliott, "Estimates of Error Rates for Codes on Burst-Noise Channels", 1963.
    """

    splitc_op: ClassVar[str] = "burst_loss"

    def __init__(
        self,
        rate: float | Tensor = 0.1,
        mean_burst: float | Tensor = 4.0,
        payload_bytes: int = PAYLOAD_BYTES,
        element_bytes: float | None = None,
        scale: Scale = "rate",
        seed: int = 0,
        order_seed: int = 0,
    ) -> None:
        super().__init__(payload_bytes, element_bytes, scale, seed, order_seed)
        self.set_conditions(rate, mean_burst)

    @property
    def rate(self) -> float | Tensor:
        """The share of packets lost."""
        return self._rate

    @rate.setter
    def rate(self, value: float | Tensor) -> None:
        self.set_conditions(value, self._mean_burst)

    @property
    def mean_burst(self) -> float | Tensor:
        """Mean length of a burst in packets."""
        return self._mean_burst

    @mean_burst.setter
    def mean_burst(self, value: float | Tensor) -> None:
        self.set_conditions(self._rate, value)

    def set_conditions(self, rate: float | Tensor, mean_burst: float | Tensor) -> None:
        """Set both at once, for pairs that neither goes with what the other was before."""
        rate = settings.rate("rate", rate)
        mean_burst = settings.at_least_one("mean_burst", mean_burst)
        shares, lengths = torch.as_tensor(rate).double(), torch.as_tensor(mean_burst).double()
        if shares.dim() and lengths.dim() and len(shares) != len(lengths):
            why = f"there are {len(shares)} and {len(lengths)}"
            raise UsageError("rate and mean_burst are not for the same samples", why=why)
        count = max(shares.numel(), lengths.numel())
        shares, lengths = shares.reshape(-1).expand(count), lengths.reshape(-1).expand(count)
        worst = int((shares / (1 - shares) / lengths).argmax())
        GilbertElliott(shares[worst].item(), lengths[worst].item())
        self._rate, self._mean_burst = rate, mean_burst

    def packets_received(self, n: int, packets: int, device: torch.device) -> Tensor:
        """Which packets of each of `n` samples came through [n, packets]."""
        rate = self.conditions(self.rate, n).to(device, torch.float32)[:, None]
        ends = 1 / self.conditions(self.mean_burst, n).to(device, torch.float32)[:, None]
        begins = ends * rate / (1 - rate)
        drawn = self.uniform((n, packets), device)
        return ~_chain(drawn, rate, begins, 1 - ends)

    def state(self, n: int) -> Tensor:
        """The share of packets lost, for each of `n` samples [n]."""
        return self.conditions(self.rate, n)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"rate={self.rate}, mean_burst={self.mean_burst}, {super().extra_repr()}"


def _chain(drawn: Tensor, first: Tensor, after_received: Tensor, after_lost: Tensor) -> Tensor:
    """Which packets a two-state chain loses, all steps at once [n, packets].

    With the same number drawn, a step ends lost from either state where it is below both
    chances of loss, received where it is above both, and else keeps the state or turns it,
    by which chance is the larger. So a packet's state is that of the last step that did
    not depend on the one before, turned as often as there were turns since.

    Args:
        drawn: Numbers in [0, 1) [n, packets].
        first: Chance that the first packet is lost [n, 1].
        after_received: Chance of loss after a packet that came [n, 1].
        after_lost: Chance of loss after a lost packet [n, 1].
    """
    lost = drawn < torch.minimum(after_received, after_lost)
    settled = lost | (drawn >= torch.maximum(after_received, after_lost))
    lost[:, :1], settled[:, :1] = drawn[:, :1] < first, True
    turns = (~settled & (after_received > after_lost)).cumsum(dim=1)
    places = torch.arange(drawn.shape[1], device=drawn.device).expand_as(drawn)
    last = torch.where(settled, places, 0).cummax(dim=1).values
    turned = (turns - turns.gather(1, last)) % 2 == 1
    return lost.gather(1, last) ^ turned
