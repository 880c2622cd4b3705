# SPDX-License-Identifier: Apache-2.0
"""What `splitc doctor --link` prints with `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from splitc.cli.objects import Printed

if TYPE_CHECKING:
    from splitc.net.probing import Measured
    from splitc.net.sockets import Buffers


class RoundTripObject(msgspec.Struct, frozen=True, kw_only=True):
    """Round trips of small packets, in milliseconds."""

    probes: int
    least_ms: float
    median_ms: float
    p99_ms: float


class LossObject(msgspec.Struct, frozen=True, kw_only=True):
    """Losses of full packets sent slowly.

    `up_rate` is towards the server, `down_rate` on the way back. `mean_burst` is in packets, 0
    where none was lost; `begins` and `ends` are the chances of the Gilbert-Elliott model with
    that rate and burst, null where it has none to go by; `bursty` is whether independent losses
    would not explain them.
    """

    probes: int
    up_rate: float
    down_rate: float
    bursts: int
    mean_burst: float
    begins: float | None
    ends: float | None
    bursty: bool


class BufferObject(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of this side's kernel for packets not yet read; `warning` is empty where it is all
    that was asked for."""

    asked_bytes: int
    receive_bytes: int
    warning: str


class LinkCheckObject(Printed, frozen=True, kw_only=True):
    """`splitc doctor --link`: what was measured, and the options that describe it.

    `bandwidth_bps` is towards the server, null where the link is too fast to tell.
    """

    to: str
    mtu_bytes: int
    bandwidth_bps: float | None
    round_trip: RoundTripObject
    loss: LossObject
    buffers: BufferObject
    options: tuple[str, ...]

    @staticmethod
    def of(to: str, mtu: int, found: Measured, buffers: Buffers) -> LinkCheckObject:
        """What was found."""
        rtt, up, model = found.rtt, found.up, found.up.gilbert_elliott
        return LinkCheckObject(
            to=to,
            mtu_bytes=mtu,
            bandwidth_bps=found.bandwidth_bps,
            round_trip=RoundTripObject(
                probes=rtt.count, least_ms=rtt.least_s * 1e3, median_ms=rtt.median_s * 1e3,
                p99_ms=rtt.p99_s * 1e3,
            ),
            loss=LossObject(
                probes=up.packets, up_rate=up.rate, down_rate=found.down_loss_rate,
                bursts=up.bursts, mean_burst=up.mean_burst,
                begins=None if model is None else model.begins,
                ends=None if model is None else model.ends, bursty=up.bursty,
            ),
            buffers=BufferObject(
                asked_bytes=buffers.asked, receive_bytes=buffers.receive, warning=buffers.warning
            ),
            options=tuple(found.flags(mtu)),
        )  # fmt: skip
