# SPDX-License-Identifier: Apache-2.0
"""The condition of the link as an input of an encoder."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from splitc_passes.layers.channel import Channel


class AddChannelState(nn.Module):
    """Tell an encoder how the link is: x + weight * state, a weight for each channel.

        x ──► add ──► x + w·s
        N,C,H,W       N,C,H,W     (N,D and N,T,D: along the last axis)

    A plane of the state beside the encoder's input adds to each of its results one weight
    times the state; so does this, without a plane that has to be made. It stands behind the
    batch norm, which only scales what stands before; so that norm folds into the convolution
    still, and a state that is fixed, as in what is compiled, is one more constant to add.

    The state is the channel's own while training. In eval mode it is `state`, which
    `set_state` sets; with `follows` it is the channel's own there too while it transmits.

    Args:
        width: How many channels, C or D.
        rank: Of what it is given: 4 has its channels second, 3 and 2 have them last.
        channel: The link whose `state` it reads. It is no part of this module.
        state: What is assumed in eval mode: noise deviation or rate, as the channel has it.
        follows: Whether the state is known outside training too.

    References:
        Shao, Zhang, "BottleNet++", ICC Workshops 2020, arXiv:1910.14315.
    """

    splitc_op: ClassVar[str] = "add"

    state: Tensor

    def __init__(
        self, width: int, rank: int, channel: Channel, state: float, *, follows: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.register_buffer("state", torch.tensor([float(state)]))
        self.rank = rank
        self.follows = follows
        # in a tuple, so that it is neither a submodule here nor trained, saved or traced twice
        self._source = (channel,)

    def forward(self, x: Tensor) -> Tensor:
        """`x` with the state added."""
        (channel,) = self._source
        told = self.training and channel.on is not False
        if told or (self.follows and channel.on is True):
            state = channel.state(len(x)).to(x)
        else:
            state = self.state
        shape = (1, -1, 1, 1) if self.rank == 4 else (-1,)
        return x + self.weight.reshape(shape) * state.reshape(-1, *[1] * (self.rank - 1))

    def extra_repr(self) -> str:
        """Its settings."""
        return f"{len(self.weight)}, follows={self.follows}"


def set_state(module: nn.Module, state: float) -> None:
    """Set the condition of the link that a network's encoders assume in eval mode.

    Args:
        module: The network.
        state: Noise deviation or loss or erasure rate, as the channel has it.
    """
    for each in module.modules():
        if isinstance(each, AddChannelState):
            each.state.fill_(state)
