# SPDX-License-Identifier: Apache-2.0
"""What `splitc send` prints with `--json`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import msgspec

from splitc.cli.objects import Printed

if TYPE_CHECKING:
    from splitc.cli.results import Results
    from splitc.send.device import Device
    from splitc.send.tally import Spread


class SpreadObject(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles of a time in milliseconds; null where nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None

    @staticmethod
    def of(spread: Spread) -> SpreadObject:
        """The percentiles of a tally."""
        return SpreadObject(p50=spread.p50, p95=spread.p95, p99=spread.p99)


class SendObject(Printed, frozen=True, kw_only=True):
    """What a device counted.

    `origins` is how many frames the server answered, the whole network here, the last answer
    again, and nobody; `routes` how many took each route, and `switches` how often a frame took
    another than the one before; `unanswered` the numbers of the first frames that nobody did.
    `share_p50` is the median share of the boundary's elements that the server had.
    `link_tail_ms` is from a frame's last packet to its answer, `frame_ms` from its inputs.
    `stopped` says that Ctrl-C ended it. The other counters are those of
    `splitc.send.tally.Counters`.
    """

    part: str
    to: str
    transport: str
    origins: dict[str, int]
    routes: dict[str, int]
    switches: int
    unanswered: tuple[int, ...]
    share_p50: float | None
    accuracy: float | None
    frames: int
    answered: int
    silent: int
    failed: int
    late: int
    packets_sent: int
    packets_resent: int
    packets_received: int
    duplicate: int
    malformed: int
    bad_seal: int
    nacks: int
    sessions: int
    bytes_sent: int
    bytes_received: int
    head_ms: SpreadObject
    link_tail_ms: SpreadObject
    frame_ms: SpreadObject
    stopped: bool

    @staticmethod
    def of(device: Device, to: str, results: Results, *, stopped: bool) -> SendObject:
        """What a device counted so far."""
        tally = device.tally
        return SendObject(
            part=device.part,
            to=to,
            transport=device.settings.transport,
            origins=dict(tally.origins),
            routes=dict(tally.routes),
            switches=device.switches,
            unanswered=tuple(results.unanswered),
            share_p50=tally.share_p50,
            accuracy=results.accuracy,
            **asdict(device.counters),
            head_ms=SpreadObject.of(tally.head),
            link_tail_ms=SpreadObject.of(tally.link_tail),
            frame_ms=SpreadObject.of(tally.frame),
            stopped=stopped,
        )
