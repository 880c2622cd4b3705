# SPDX-License-Identifier: Apache-2.0
"""What training loses with some packets is what the wire loses with the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, device  # noqa: E402

from splitc.link.packets import Scale  # noqa: E402
from splitc.runtime.manifest import Missing, TensorSpec  # noqa: E402
from splitc.wire.boundary import Boundary  # noqa: E402
from splitc_passes.codecs.bit_packing import group_of, packed_bytes  # noqa: E402
from splitc_passes.layers.packets import PacketChannel  # noqa: E402

SEED, PAYLOAD, SHAPE = 77, 36, (1, 5, 9, 13)
VALUES = math.prod(SHAPE)


class Given(PacketChannel):
    """A channel that loses the packets it is told to."""

    def __init__(
        self, received: NDArray[np.bool_], element_bytes: float | None = None,
        scale: Scale = "none",
    ) -> None:  # fmt: skip
        super().__init__(PAYLOAD, element_bytes, scale, order_seed=SEED)
        self.received = received

    def packets_received(self, n: int, packets: int, device: device) -> Tensor:
        assert packets == len(self.received)
        return torch.as_tensor(self.received).expand(n, -1)

    def state(self, n: int) -> Tensor:
        return torch.full((n,), 0.25)


def drawn(count: int, trial: int) -> NDArray[np.bool_]:
    """Which of so many packets came."""
    return np.random.default_rng(trial).random(count) < 0.6


def received(boundary: Boundary, sent: NDArray[np.generic], came: NDArray[np.bool_]) -> Tensor:
    """What the wire gives for the same packets, as a link of loss rate 0.25."""
    packets = boundary.pack([sent], session=1, split=2, frame=0)
    rows = packets.block[:, 32 : 32 + PAYLOAD].copy()
    return torch.as_tensor(boundary.unpack(rows, came, 0.25)[0][0])


@pytest.mark.parametrize("scale", ["none", "rate", "realised"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("trial", range(4))
def test_the_same_floats_are_missing_and_the_others_are_scaled_alike(
    dtype: str, scale: Scale, trial: int
) -> None:
    sent = np.random.default_rng(trial).standard_normal(SHAPE).astype(dtype)
    spec = TensorSpec(name="t", dtype=dtype, shape=SHAPE, bytes=sent.nbytes)
    boundary = Boundary([spec], PAYLOAD, SEED, [Missing(scale=scale)])
    came = drawn(boundary.chunks, trial)
    trained = Given(came, scale=scale).transmit(torch.as_tensor(sent))
    got = received(boundary, sent, came)
    assert torch.equal(got == 0, trained == 0)
    # Training computes factors in fp32, which rounds their last bit.
    torch.testing.assert_close(got, trained)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 7, 8, 12, 16])
def test_packed_levels_are_lost_with_the_same_packets_and_never_in_part(bits: int) -> None:
    size = packed_bytes(bits, VALUES)
    spec = TensorSpec(name="levels", dtype="uint8", shape=(1, size), bytes=size)
    rule = Missing(scale="none", unit=group_of(bits).octets)
    boundary = Boundary([spec], PAYLOAD, SEED, [rule])
    # Every level is the last, all of its bits ones.
    sent = np.full((1, size), 0xFF, np.uint8)
    came = drawn(boundary.chunks, bits)
    octets = received(boundary, sent, came).numpy()[0]
    ones = np.unpackbits(octets, bitorder="little")[: VALUES * bits].reshape(VALUES, bits)
    assert (ones.all(axis=1) | ~ones.any(axis=1)).all()
    trained = Given(came, bits / 8).arrived(torch.ones(SHAPE))
    np.testing.assert_array_equal(ones.any(axis=1), trained[0].numpy())
