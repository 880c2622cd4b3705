# SPDX-License-Identifier: Apache-2.0
"""The channel that loses packets independently."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from splitc.link.packets import PAYLOAD_BYTES, Scale
from splitc_passes.layers import settings
from splitc_passes.layers.packets import PacketChannel
from splitc_passes.layers.settings import Setting


class PacketLoss(PacketChannel):
    """Packets of permuted elements, each lost with rate p and not sent again.

        x ──► flatten, permute, s elements a packet ──► lose ──► 0 where missing, scale ──► y
        N,…                                                                                 N,…

    The packets of a sample that come through are Binomial(n_t, 1 - p). Gradients are those
    of the elements that came through.

    Args:
        rate: p, the share of packets lost, in [0, 1); or one for each sample [N].
        payload_bytes: Bytes of elements that one packet holds.
        element_bytes: Bytes of an element on the link, 0.5 for 4 bits; None for those of
            its dtype.
        scale: "rate" multiplies what came by 1/(1 - p), as the paper does; "realised" by
            the inverse of the share of elements that came; "none" leaves it.
        seed: Of the losses.
        order_seed: Of the order that elements are sent in, which both sides know.

    Raises:
        UsageError: A setting is out of its range or a packet holds no element, also when
            it is set later.

    References:
        Itahara, Nishio, Yamamoto, "Packet-Loss-Tolerant Split Inference",
        GLOBECOM 2021, arXiv:2104.13629, section III.
    """

    splitc_op: ClassVar[str] = "packet_loss"
    rate = Setting(settings.rate)

    def __init__(
        self,
        rate: float | Tensor = 0.1,
        payload_bytes: int = PAYLOAD_BYTES,
        element_bytes: float | None = None,
        scale: Scale = "rate",
        seed: int = 0,
        order_seed: int = 0,
    ) -> None:
        super().__init__(payload_bytes, element_bytes, scale, seed, order_seed)
        self.rate = rate

    def packets_received(self, n: int, packets: int, device: torch.device) -> Tensor:
        """Which packets of each of `n` samples came through [n, packets]."""
        rate = self.conditions(self.rate, n).to(device, torch.float32)
        return self.uniform((n, packets), device) >= rate[:, None]

    def state(self, n: int) -> Tensor:
        """The share of packets lost, for each of `n` samples [n]."""
        return self.conditions(self.rate, n)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"rate={self.rate}, {super().extra_repr()}"
