# SPDX-License-Identifier: Apache-2.0
"""What `splitc simulate` prints with `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from splitc.cli.objects import GatedObject

if TYPE_CHECKING:
    from splitc.simulate import Simulated


class LatencyObject(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies of the frames that were answered, in milliseconds; null where none was."""

    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class SimulatedLinkObject(msgspec.Struct, frozen=True, kw_only=True):
    """The link, each way: `model` as it was asked for, "" where nothing is lost; `bandwidth_bps`
    is null where a recorded link has its own."""

    model: str
    bandwidth_bps: float | None
    rtt_s: float
    jitter_s: float
    queue_bytes: int


class SimulatedRunObject(msgspec.Struct, frozen=True, kw_only=True):
    """One way of sending the frames.

    `chooses` is the policy, or the route that all frames took; `share` what the server had of
    the boundary on average, `accuracy` null without labels; `missed` counts frames that were not
    answered within the limit, `unanswered` those of them that never were. `energy_mj` is of the
    device a frame, null where its board is not known. `packets_lost` and `queue_full` are of
    those towards the server. `notes` say what is only modelled.
    """

    name: str
    transport: str
    chooses: str
    frames: int
    unanswered: int
    share: float
    accuracy: float | None
    latency_ms: LatencyObject
    missed: int
    energy_mj: float | None
    routes: dict[str, int]
    switches: int
    packets_sent: int
    packets_resent: int
    packets_lost: int
    queue_full: int
    seconds: float
    notes: tuple[str, ...]

    @staticmethod
    def of(
        name: str, transport: str, chooses: str, found: Simulated, within_s: float
    ) -> SimulatedRunObject:
        """What came out of one."""
        latency, counters = found.latency, found.counters
        return SimulatedRunObject(
            name=name, transport=transport, chooses=chooses, frames=len(found.records),
            unanswered=found.unanswered, share=found.share, accuracy=found.accuracy,
            latency_ms=LatencyObject(
                mean=latency.mean, p50=latency.p50, p95=latency.p95, p99=latency.p99
            ),
            missed=found.missed(within_s),
            energy_mj=None if found.energy_j is None else found.energy_j * 1e3,
            routes=found.routes, switches=found.switches, packets_sent=counters.packets_sent,
            packets_resent=counters.packets_resent, packets_lost=found.up.lost,
            queue_full=found.up.queue_full, seconds=found.seconds, notes=found.notes,
        )  # fmt: skip


class SimulateObject(GatedObject, frozen=True, kw_only=True):
    """`splitc simulate`: the same frames over the same link, in one way or in several.

    `figures` says where the times of heads and tails are from, `spread` how much they vary;
    `within_s` is the limit of `missed`; `rate` is frames a second, 0 for back to back.
    """

    bundle: str
    link: SimulatedLinkObject
    figures: str
    values: bool
    frames: int
    rate: float
    seed: int
    spread: float
    within_s: float
    runs: tuple[SimulatedRunObject, ...]
