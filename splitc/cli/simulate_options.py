# SPDX-License-Identifier: Apache-2.0
"""Options of `splitc simulate`: the link, and how to send over it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o
from splitc.cli import send as sending

if TYPE_CHECKING:
    from splitc.cli.simulate_object import SimulatedLinkObject
    from splitc.send.settings import Settings
    from splitc.simulate import TwoWays

SIMULATED = "What is simulated"

Transports = Annotated[
    str,
    typer.Option("--transport", metavar="NAME,…", envvar="SPLITC_TRANSPORT",
                 rich_help_panel=sending.WIRE,
                 help="udp, resend, parity or tcp, as of splitc send; several are compared."),
]  # fmt: skip
LinkModel = Annotated[
    str,
    typer.Option("--link-model", metavar="MODEL|FILE", rich_help_panel=o.LINK,
                 help="How packets are lost, each way: [b]iid(0.2)[/]; [b]gilbert(0.2, 6)[/], the "
                 "share and the mean burst; a file of 0 and 1; or a recorded link in CSV: "
                 "time_s,bandwidth_mbit,loss."),
]  # fmt: skip
Jitter = Annotated[
    str,
    typer.Option("--jitter", metavar="TIME", rich_help_panel=o.LINK,
                 help="Up to so much more on the way, each packet by itself."),
]  # fmt: skip
Queue = Annotated[
    str,
    typer.Option("--queue", metavar="SIZE", rich_help_panel=o.LINK,
                 help="What waits at most for the bandwidth; more is lost."),
]  # fmt: skip
Pace = Annotated[
    str | None,
    typer.Option("--pace", metavar="RATE", rich_help_panel=sending.WIRE,
                 help="Send no faster, as --bandwidth of splitc send."),
]  # fmt: skip
Times = Annotated[
    str,
    typer.Option("--times", metavar="predicted|measured", rich_help_panel=SIMULATED,
                 help="Times of heads and tails: of the bundle's boards, as it was compiled; or "
                 "of this machine, measured now."),
]  # fmt: skip
Vary = Annotated[
    float,
    typer.Option("--spread", metavar="SIGMA", rich_help_panel=SIMULATED,
                 help="How much they vary: each times e^(SIGMA z), z standard normal."),
]  # fmt: skip
Seed = Annotated[
    int,
    typer.Option("--seed", metavar="N", min=0, rich_help_panel=SIMULATED,
                 help="Of all that is random."),
]  # fmt: skip


@dataclass(frozen=True)
class LinkOptions:
    """What is between device and server."""

    link: o.LinkName = None
    link_model: LinkModel = ""
    bandwidth: o.Bandwidth = None
    rtt: o.Rtt = None
    jitter: Jitter = "0ms"
    queue: Queue = "256KiB"

    def two_ways(self) -> TwoWays:
        """What they say; the bandwidth of a recorded link is its own.

        Raises:
            UsageError: One of them is malformed or out of its range, or there are two bandwidths.
        """
        from splitc.simulate import TwoWays

        base = o.parse_link(self.link, self.bandwidth, self.rtt, None, None)
        queue_bytes = o.parse_bytes(self.queue)
        recorded = TwoWays.of(self.link_model).up.varying is not None
        asked = self.link is not None or self.bandwidth is not None
        return TwoWays.of(
            self.link_model, bandwidth=None if recorded and not asked else base.bandwidth_bps,
            rtt=base.rtt_s, jitter=self.jitter, queue_bytes=queue_bytes,
        )  # fmt: skip

    def text(self, ways: TwoWays) -> str:
        """It in words."""
        up, model = ways.up, self.link_model or "nothing lost"
        if up.varying is not None or up.trace is not None:
            model = Path(model).name
        words = [] if up.bandwidth_bps is None else [f"{up.bandwidth_bps / 1e6:g} Mbit/s"]
        return ", ".join([model, *words, f"rtt {ways.rtt_s * 1e3:g} ms"])

    def shown(self, ways: TwoWays) -> SimulatedLinkObject:
        """It for programs."""
        from splitc.cli.simulate_object import SimulatedLinkObject

        up = ways.up
        return SimulatedLinkObject(
            model=self.link_model, bandwidth_bps=up.bandwidth_bps, rtt_s=ways.rtt_s,
            jitter_s=up.jitter_s, queue_bytes=up.queue_bytes,
        )  # fmt: skip


@dataclass(frozen=True)
class WireOptions:
    """How to send."""

    transport: Transports = "udp"
    parity: sending.Parity = "25%"
    deadline: sending.Deadline = "100ms"
    grace: sending.Grace = "5ms"
    mtu: sending.Mtu = 1500
    pace: Pace = None
    silent_after: sending.SilentAfter = "1s"
    in_flight: sending.InFlight = 2

    def settings(self) -> Settings:
        """What they say, without the transport.

        Raises:
            UsageError: One of them is malformed, or out of its range.
        """
        from splitc.send.settings import Settings

        return Settings.of(
            parity=self.parity, deadline=self.deadline, grace=self.grace, mtu=self.mtu,
            bandwidth=self.pace, silent_after=self.silent_after, in_flight=self.in_flight,
        )  # fmt: skip
