# SPDX-License-Identifier: Apache-2.0
"""The channel that loses the packets that a recorded trace lost."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from splitc.link.loss_trace import loss_trace
from splitc.link.packets import PAYLOAD_BYTES, Scale
from splitc_passes.layers.packets import PacketChannel


class TraceLoss(PacketChannel):
    """Packets of permuted elements, lost as in a recording.

        x ──► flatten, permute, s elements a packet ──► lose ──► 0 where missing, scale ──► y
        N,…                                                                                 N,…

    The samples' packets follow each other along the trace, batch after batch, and begin
    anew at its end. Gradients are those of the elements that came through.

    Args:
        trace: 1 for a lost packet and 0 for one received, in order; or a text or CSV file
            of them (see `splitc.link.loss_trace.loss_trace`).
        payload_bytes: Bytes of elements that one packet holds.
        element_bytes: Bytes of an element on the link, 0.5 for 4 bits; None for those of
            its dtype.
        scale: "rate" multiplies what came by 1/(1 - p), p the share lost in the whole
            trace; "realised" by the inverse of the share of elements that came; "none"
            leaves it.
        seed: Of the place in the trace to begin at.
        order_seed: Of the order that elements are sent in, which both sides know.
        start: The place to begin at instead, from 0.

    Raises:
        UsageError: The trace cannot be read, is empty, holds something else or loses every
            packet; or a setting is out of its range, also when it is set later.
    """

    splitc_op: ClassVar[str] = "trace_loss"

    def __init__(
        self,
        trace: Sequence[int] | NDArray[Any] | Tensor | str | os.PathLike[str],
        payload_bytes: int = PAYLOAD_BYTES,
        element_bytes: float | None = None,
        scale: Scale = "rate",
        seed: int = 0,
        order_seed: int = 0,
        start: int | None = None,
    ) -> None:
        super().__init__(payload_bytes, element_bytes, scale, seed, order_seed)
        read = loss_trace(trace.cpu().numpy() if isinstance(trace, Tensor) else trace)
        self._received = ~torch.as_tensor(read)
        self._start = start
        self._place: int | None = None

    @property
    def lost_share(self) -> float:
        """The share of packets lost in the whole trace."""
        return 1 - self._received.double().mean().item()

    def reseed(self, seed: int) -> None:
        """Begin anew, at the seed's place in the trace."""
        super().reseed(seed)
        self._place = None

    def packets_received(self, n: int, packets: int, device: torch.device) -> Tensor:
        """Which packets of each of `n` samples came through [n, packets]."""
        length = len(self._received)
        if self._place is None:
            # Drawn on the CPU whatever the device, so that the place is the same on each.
            draw = self.generator(torch.device("cpu"))
            drawn = int(torch.randint(length, (), generator=draw))
            self._place = drawn if self._start is None else self._start
        places = (self._place + torch.arange(n * packets)) % length
        self._place = (self._place + n * packets) % length
        return self._received[places].reshape(n, packets).to(device)

    def state(self, n: int) -> Tensor:
        """The share of packets lost in the whole trace, for each of `n` samples [n]."""
        return self.conditions(self.lost_share, n)

    def extra_repr(self) -> str:
        """Its settings."""
        trace = f"trace of {len(self._received)}, lost_share={self.lost_share:g}"
        return f"{trace}, {super().extra_repr()}"
