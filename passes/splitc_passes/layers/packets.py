# SPDX-License-Identifier: Apache-2.0
"""What the channels that lose packets have in common."""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor

from splitc.errors import UsageError, nearest
from splitc.link.packets import PAYLOAD_BYTES, Chunks, Scale, elements_per_packet, unit_of
from splitc_passes.layers.channel import Channel
from splitc_passes.layers.settings import Setting


def scale_name(name: str, value: Scale) -> Scale:
    """One of the ways to scale what is received.

    Raises:
        UsageError: It is none.
    """
    known = get_args(Scale)
    if value not in known:
        raise UsageError(f"there is no {name} '{value}'", hint=nearest(str(value), known))
    return value


class LossyChannel(Channel):
    """A link that loses elements: missing ones read as 0, the others are scaled up.

    A subclass says which came through (`arrived`) and the loss rate (`state`).
    """

    scale = Setting(scale_name)

    def __init__(self, scale: Scale = "rate", seed: int = 0) -> None:
        super().__init__(seed)
        self.scale = scale

    def arrived(self, x: Tensor) -> Tensor:
        """Which elements of each sample came through [N, elements], as bool."""
        raise NotImplementedError

    def transmit(self, x: Tensor) -> Tensor:
        """`x` with 0 where nothing came; gradients of what came, scaled alike."""
        arrived = self.arrived(x)
        received = x.masked_fill(~arrived.reshape(x.shape), 0)
        if self.scale == "none":
            return received
        if self.scale == "rate":
            share = 1 - self.state(len(x)).to(x.device, torch.float32)
        else:
            # With nothing received there is nothing to scale.
            share = arrived.float().mean(dim=1).nan_to_num(1)
            share = share.where(share > 0, 1)
        return received * self.per_sample(1 / share, x)


class PacketChannel(LossyChannel):
    """A link that loses whole packets of permuted elements.

    Each sample is flattened, and its elements are sent in an order that both sides know, as many
    a packet as fit: `splitc.link.packets.Chunks`, which says so on the wire too. Elements of a few
    bits share bytes, and those that do are lost together. A subclass says which packets came
    through.

    Args:
        payload_bytes: Bytes of elements that one packet holds.
        element_bytes: Bytes of an element on the link, 0.5 for 4 bits; None for those of
            its dtype.
        scale: "rate", "realised" or "none".
        seed: Of the losses.
        order_seed: Of the order that elements are sent in.
    """

    def __init__(
        self,
        payload_bytes: int = PAYLOAD_BYTES,
        element_bytes: float | None = None,
        scale: Scale = "rate",
        seed: int = 0,
        order_seed: int = 0,
    ) -> None:
        super().__init__(scale, seed)
        self._sizes = (payload_bytes, element_bytes)
        self.payload_bytes = payload_bytes
        self.order_seed = order_seed
        self._packets: tuple[tuple[Chunks, int, torch.device], Tensor] | None = None

    @property
    def payload_bytes(self) -> int:
        """Bytes of elements that one packet holds."""
        return self._sizes[0]

    @payload_bytes.setter
    def payload_bytes(self, value: int) -> None:
        # Without a size given for the elements, the smallest there can be is one byte.
        elements_per_packet(value, self.element_bytes or 1)
        self._sizes = (value, self.element_bytes)

    @property
    def element_bytes(self) -> float | None:
        """Bytes of an element on the link; None for those of its dtype."""
        return self._sizes[1]

    @element_bytes.setter
    def element_bytes(self, value: float | None) -> None:
        if value is not None:
            elements_per_packet(self.payload_bytes, value)
        self._sizes = (self.payload_bytes, value)

    def packets_received(self, n: int, packets: int, device: torch.device) -> Tensor:
        """Which packets of each of `n` samples came through [n, packets], as bool."""
        raise NotImplementedError

    def chunks(self, count: int, dtype: torch.dtype) -> Chunks:
        """How a sample of so many elements lies in packets.

        Raises:
            UsageError: Not one element fits.
        """
        size = dtype.itemsize if self.element_bytes is None else self.element_bytes
        return Chunks(count, unit_of(size), self.payload_bytes)

    def arrived(self, x: Tensor) -> Tensor:
        """Which elements of each sample came through [N, elements]."""
        chunks = self.chunks(math.prod(x.shape[1:]), x.dtype)
        received = self.packets_received(len(x), chunks.packets, x.device)
        return received[:, self._packet_of_element(chunks, x.device)]

    def _packet_of_element(self, chunks: Chunks, device: torch.device) -> Tensor:
        key = (chunks, self.order_seed, device)
        if self._packets is None or self._packets[0] != key:
            packets = chunks.packet_of_element(self.order_seed)
            self._packets = key, torch.as_tensor(packets, device=device)
        return self._packets[1]

    def extra_repr(self) -> str:
        """Its settings."""
        size = "" if self.element_bytes is None else f", element_bytes={self.element_bytes:g}"
        return f"payload_bytes={self.payload_bytes}{size}, scale={self.scale}"
