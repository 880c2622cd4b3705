# SPDX-License-Identifier: Apache-2.0
"""The object that `splitc serve --json` prints when it has stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from splitc.cli.objects import Printed

if TYPE_CHECKING:
    from splitc.serve.server import Server


class StageObject(msgspec.Struct, frozen=True, kw_only=True):
    """How long one stage took, in milliseconds: the upper bounds of the histogram's bins."""

    count: int
    p50_ms: float
    p99_ms: float


class ServeObject(Printed, frozen=True):
    """`splitc serve`: what it did until it was stopped.

    `counters` are those that Prometheus gets, `routes` the answers by bundle and route,
    `dropped` the packets that were not used by the reason, `refused` how often peers were told
    that they are not served, by the code; `dropped_by_kernel` are datagrams for which the
    socket's buffer had no room.
    """

    address: str
    metrics: str | None
    bundles: tuple[str, ...]
    sealed: bool
    seconds: float
    counters: dict[str, int]
    routes: dict[str, int]
    dropped: dict[str, int]
    refused: dict[str, int]
    dropped_by_kernel: int
    stages: dict[str, StageObject]

    @staticmethod
    def of(server: Server, *, sealed: bool, seconds: float) -> ServeObject:
        """A server that was stopped."""
        measures = server.measures
        return ServeObject(
            address=str(server.address),
            metrics=None if server.metrics is None else str(server.metrics),
            bundles=tuple(str(one.path) for one in server.bundles.values()),
            sealed=sealed,
            seconds=seconds,
            counters=dict(measures.numbers()),
            routes=dict(measures.routes),
            dropped=server.unused,
            refused=dict(measures.refused),
            dropped_by_kernel=server.dropped_by_kernel,
            stages={
                name: StageObject(
                    count=one.count, p50_ms=one.quantile(0.5) * 1e3, p99_ms=one.quantile(0.99) * 1e3
                )
                for name, one in measures.stages.items()
            },
        )
