# SPDX-License-Identifier: Apache-2.0
"""Channels: what a link does to the values that cross it, as modules without parameters."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn

from splitc.errors import UsageError


class Channel(nn.Module):
    """A link between encoder and decoder; the identity where it is off.

        x ──► transmit ──► what the receiver has
        N,…                N,… of the same shape and dtype

    A subclass defines `transmit` and `state` and names its op. It is on while training
    and off in eval mode, unless `on` says otherwise; `transmitting` turns all of a
    network's on. What it draws comes from a generator of its own: the same seed, the
    same losses. Its conditions are attributes that can be set between batches, numbers
    or one for each sample [N], so that a batch can mix them.

    Args:
        seed: Of what it draws.
    """

    splitc_op: ClassVar[str]

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.on: bool | None = None
        self.seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def forward(self, x: Tensor) -> Tensor:
        """What the receiver has; `x` itself where the channel is off."""
        active = self.training if self.on is None else self.on
        return self.transmit(x) if active else x

    def transmit(self, x: Tensor) -> Tensor:
        """Send `x` [N, …] over the link; gradients pass straight through what has none."""
        raise NotImplementedError

    def state(self, n: int) -> Tensor:
        """The link's condition for each of `n` samples [n], as an encoder may be told it.

        A loss rate, an erasure rate or the noise's deviation; 0 where nothing changes.
        """
        raise NotImplementedError

    def reseed(self, seed: int) -> None:
        """Begin the sequence of what is drawn anew."""
        self.seed = seed
        self._generators.clear()

    def generator(self, device: torch.device) -> torch.Generator:
        """The source of what is drawn, on the device that the values are on."""
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[device]

    def uniform(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Numbers drawn from [0, 1), in float32 whatever is sent: half floats are too coarse."""
        return torch.rand(tuple(shape), device=device, generator=self.generator(device))

    def per_sample(self, rate: float | Tensor, x: Tensor) -> Tensor:
        """A rate, or one for each sample [N], in a shape that goes with `x` [N, …].

        Raises:
            UsageError: There is not one for each sample.
        """
        value = torch.as_tensor(rate, dtype=x.dtype, device=x.device)
        if not value.dim():
            return value
        return self.conditions(value, len(x)).reshape(-1, *[1] * (x.dim() - 1))

    def conditions(self, rate: float | Tensor, n: int) -> Tensor:
        """A rate, or one for each sample, as one for each of `n` samples [n].

        Raises:
            UsageError: There is not one for each sample.
        """
        value = torch.as_tensor(rate)
        if value.dim() and len(value) != n:
            why = f"it is set for {len(value)} samples, {n} came"
            raise UsageError(f"{self.splitc_op}: the condition is another batch's", why=why)
        return value.expand(n)


def channels(module: nn.Module) -> Iterator[Channel]:
    """The channels in a network, in order."""
    return (each for each in module.modules() if isinstance(each, Channel))


@contextmanager
def transmitting(module: nn.Module, *, on: bool = True, seed: int | None = None) -> Generator[None]:
    """Turn the channels of a network on, or off, whatever its mode; afterwards as before.

    Args:
        module: The network.
        on: Whether values are sent over them.
        seed: Of what they draw inside; None goes on with the sequence they are in.
    """
    before = [(each, each.on, each.seed) for each in channels(module)]
    for each, _, _ in before:
        each.on = on
        if seed is not None:
            each.reseed(seed)
    try:
        yield
    finally:
        for each, was_on, was_seed in before:
            each.on = was_on
            if seed is not None:
                each.reseed(was_seed)
