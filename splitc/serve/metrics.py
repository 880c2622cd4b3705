# SPDX-License-Identifier: Apache-2.0
"""A server's counters for Prometheus, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from splitc.errors import DeviceError, ToolchainError
from splitc.net.address import Address
from splitc.serve.measures import BOUNDS_S, STAGES, Measures, Now

_HELP = {
    "packets": "Packets that came",
    "packets_sent": "Packets that were sent",
    "welcomed": "Sessions begun",
    "frames": "Frames closed, whether complete or not",
    "complete": "Frames closed with every packet",
    "at_deadline": "Frames closed by their deadline",
    "chunks": "Packets of the closed frames",
    "chunks_missing": "Packets of the closed frames that never came",
    "answers": "Frames answered with results",
    "failed": "Frames answered with the reason why there are no results",
    "late": "Frames answered after their deadline",
    "resent": "Packets of answers that were sent once more",
    "calls": "Calls of tails",
    "evicted_frames": "Frames given up for want of memory",
    "evicted_peers": "Peers forgotten",
}


class Collector:
    """Gives Prometheus a server's figures whenever it asks.

    Args:
        measures: The counters.
        now: What the server holds.
        unused: Packets that it did not use, by the reason.
    """

    def __init__(
        self, measures: Measures, now: Callable[[], Now], unused: Callable[[], Mapping[str, int]]
    ) -> None:
        self._measures = measures
        self._now = now
        self._unused = unused

    def collect(self) -> Iterator[Any]:
        """Every metric."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        for name, value in self._measures.numbers():
            yield CounterMetricFamily(f"splitc_{name}", _HELP[name], value=value)
        routes = CounterMetricFamily(
            "splitc_route_answers", "Frames answered with results", labels=["route"]
        )
        for route, count in list(self._measures.routes.items()):
            routes.add_metric([route], count)
        yield routes
        dropped = CounterMetricFamily("splitc_dropped", "Packets not used", labels=["reason"])
        for reason, count in self._unused().items():
            dropped.add_metric([reason], count)
        yield dropped
        refused = CounterMetricFamily("splitc_refused", "Refusals sent", labels=["code"])
        for code, count in list(self._measures.refused.items()):
            refused.add_metric([code], count)
        yield refused
        now = self._now()
        yield GaugeMetricFamily("splitc_peers", "Devices with a session", value=now.peers)
        yield GaugeMetricFamily("splitc_queue", "Frames that wait for a tail", value=now.queue)
        yield GaugeMetricFamily(
            "splitc_memory_bytes", "Frames and answers in memory", value=now.memory_bytes
        )
        stages = HistogramMetricFamily("splitc_stage_seconds", "Time by stage", labels=["stage"])
        for stage in STAGES:
            found = self._measures.stages[stage]
            counts = accumulate(found.bins)
            bounds = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")
            stages.add_metric([stage], list(zip(bounds, counts, strict=True)), found.total_s)
        yield stages


class MetricsPage:
    """A page over HTTP with a server's metrics, from a thread of its own.

    Args:
        address: Where; port 0 is any that is free.
        collector: What is on it.

    Raises:
        ToolchainError: prometheus_client is not installed.
        DeviceError: The address cannot be listened on.
    """

    def __init__(self, address: Address, collector: Collector) -> None:
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError as error:
            hint = "pip install 'splitc[serve]'"
            raise ToolchainError("prometheus_client is not installed", hint=hint) from error
        registry: Any = CollectorRegistry()
        registry.register(collector)
        try:
            self._server, self._thread = start_http_server(
                address.port, address.host, registry=registry
            )
        except OSError as error:
            why = error.strerror or str(error)
            raise DeviceError(f"cannot show metrics on {address}", why=why) from error
        self.address = Address(address.host, self._server.server_port)

    def close(self) -> None:
        """Take the page down."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
