# SPDX-License-Identifier: Apache-2.0
"""`splitc send`: the head here, the tail on a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o
from splitc.cli.spread import spread
from splitc.errors import SplitcError, UsageError

if TYPE_CHECKING:
    from splitc.cli.send_object import SendObject
    from splitc.runtime.inputs import Frame, Inputs
    from splitc.send.settings import Settings

WIRE = "How packets go"
ROUTES = "Which way each frame takes"
SILENT = "When the server is silent"
FRAMES = "Frames"

Transport = Annotated[
    str,
    typer.Option("--transport", metavar="NAME", envvar="SPLITC_TRANSPORT", rich_help_panel=WIRE,
                 help="udp: each packet once. resend: what the server lacks goes again while the "
                 "deadline lets it. parity: with parity packets. tcp: all, however late."),
]  # fmt: skip
Parity = Annotated[
    str,
    typer.Option("--parity", metavar="PERCENT", envvar="SPLITC_PARITY", rich_help_panel=WIRE,
                 help="Parity packets for 100 of data, with --transport parity."),
]  # fmt: skip
Deadline = Annotated[
    str,
    typer.Option("--deadline", metavar="TIME", envvar="SPLITC_DEADLINE", rich_help_panel=WIRE,
                 help="The tail runs on what has come this long after a frame's first packet."),
]  # fmt: skip
Grace = Annotated[
    str,
    typer.Option("--grace", metavar="TIME", envvar="SPLITC_GRACE", rich_help_panel=WIRE,
                 help="How long a packet may be late behind those sent after it."),
]  # fmt: skip
Mtu = Annotated[
    int,
    typer.Option("--mtu", metavar="BYTES", envvar="SPLITC_MTU", rich_help_panel=WIRE,
                 help="Largest packet, headers included."),
]  # fmt: skip
Bandwidth = Annotated[
    str | None,
    typer.Option("--bandwidth", metavar="RATE", envvar="SPLITC_BANDWIDTH", rich_help_panel=WIRE,
                 help="Send no faster, like 20Mbit: more than a slow link takes is lost."),
]  # fmt: skip
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="FILE", envvar="SPLITC_KEY", rich_help_panel=WIRE,
                 help="The server's key file."),
]  # fmt: skip
Route = Annotated[
    str | None,
    typer.Option("--route", metavar="NAME", envvar="SPLITC_ROUTE", rich_help_panel=ROUTES,
                 help="The route of every frame."),
]  # fmt: skip
PolicyText = Annotated[
    str | None,
    typer.Option("--policy", metavar="TEXT|FILE.json", envvar="SPLITC_POLICY",
                 rich_help_panel=ROUTES,
                 help="What picks each frame's route: a policy, or a plan of [b]splitc plan[/]. "
                 "By default [b]adaptive[/], which goes by what it measures."),
]  # fmt: skip
Within = Annotated[
    str | None,
    typer.Option("--within", metavar="TIME", envvar="SPLITC_WITHIN", rich_help_panel=ROUTES,
                 help="Of the routes that keep a frame within that, the most exact one: what "
                 "[b]adaptive[/] is to keep."),
]  # fmt: skip
WhenSilent = Annotated[
    str,
    typer.Option("--when-silent", metavar="error|last|whole", envvar="SPLITC_WHEN_SILENT",
                 rich_help_panel=SILENT,
                 help="Stop; repeat the last answer; run the whole network here."),
]  # fmt: skip
SilentAfter = Annotated[
    str,
    typer.Option("--silent-after", metavar="TIME", envvar="SPLITC_SILENT_AFTER",
                 rich_help_panel=SILENT, help="A frame not answered so long after is given up."),
]  # fmt: skip
Whole = Annotated[
    str | None,
    typer.Option("--whole", metavar="FOLDER", envvar="SPLITC_WHOLE", rich_help_panel=SILENT,
                 help="The part of the whole network, where the bundle has none."),
]  # fmt: skip
InFlight = Annotated[
    int,
    typer.Option("--in-flight", metavar="N", envvar="SPLITC_IN_FLIGHT", rich_help_panel=FRAMES,
                 help="Frames under way at once: while one is, the next one's head runs."),
]  # fmt: skip


@dataclass(frozen=True)
class WireOptions:
    """How to send."""

    transport: Transport = "udp"
    parity: Parity = "25%"
    deadline: Deadline = "100ms"
    grace: Grace = "5ms"
    mtu: Mtu = 1500
    bandwidth: Bandwidth = None
    when_silent: WhenSilent = "error"
    silent_after: SilentAfter = "1s"
    in_flight: InFlight = 2

    def settings(self) -> Settings:
        """What they say.

        Raises:
            UsageError: One of them is malformed, or out of its range.
        """
        from splitc.send.settings import Settings

        return Settings.of(
            transport=self.transport, parity=self.parity, deadline=self.deadline,
            grace=self.grace, mtu=self.mtu, bandwidth=self.bandwidth,
            when_silent=self.when_silent, silent_after=self.silent_after,
            in_flight=self.in_flight,
        )  # fmt: skip


_WIRE = WireOptions()


@spread
def send(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="A bundle, or a head copied out of one.")
    ],
    to: Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="The server.")],
    inputs: Annotated[
        str,
        typer.Option("--input", metavar="FILE|DIR", rich_help_panel=FRAMES,
                     help="A .npy, a .npz of arrays by input name, an image, or a folder of such: "
                     "one frame, or several along one more axis."),
    ],
    wire: WireOptions = _WIRE,
    route: Route = None,
    policy: PolicyText = None,
    within: Within = None,
    key: Key = None,
    whole: Whole = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="FILE.npy", rich_help_panel=FRAMES,
                     help="The right class of each frame: prints the accuracy."),
    ] = None,
    rate: Annotated[
        float,
        typer.Option("--rate", metavar="FPS", envvar="SPLITC_RATE", rich_help_panel=FRAMES,
                     help="Frames a second at most. 0: as they come."),
    ] = 0.0,
    repeat: Annotated[
        int,
        typer.Option("--repeat", metavar="N", rich_help_panel=FRAMES,
                     help="Send all frames so many times."),
    ] = 1,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="DIR", rich_help_panel=FRAMES,
                     help="Write the results to DIR/0.npy, DIR/1.npy, …, in the network's order."),
    ] = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Run the head here, send what crosses, and take the tail's answers."""
    from splitc.cli.results import Results, made_folder, read_labels
    from splitc.cli.send_object import SendObject
    from splitc.runtime.inputs import read_inputs
    from splitc.send.device import Device
    from splitc.send.ends import Folders

    if repeat < 1 or not 0 <= rate <= 1e6:
        raise UsageError("--repeat is at least 1, --rate at least 0")
    settings = wire.settings()
    folders = Folders.find(Path(bundle), whole=None if whole is None else Path(whole))
    several = len(folders.manifest.remote) > 1
    frames = read_inputs(inputs, folders.inputs)
    classes = frames.labels if labels is None else read_labels(Path(labels), len(frames))
    if not folders.manifest.remote[0].outputs:
        if out is not None or labels is not None:
            why = "the bundle was compiled with --results server"
            hint = "`splitc serve --keep DIR` has them"
            raise UsageError("no results come back to the device", why=why, hint=hint)
        classes = None
    results = Results(len(frames), classes)
    if out is not None:
        made_folder(Path(out))
    stopped = False
    with Device(
        bundle, to, route=route, policy=policy, within=within, key=key, whole=whole,
        settings=settings,
    ) as device:  # fmt: skip
        try:
            with _progress(quiet, len(frames) * repeat) as told:
                for answer in device.stream(_paced(frames, repeat, rate)):
                    if answer.origin == "nobody":
                        results.miss(answer.frame)
                    else:
                        results.add(answer.frame, answer.found)
                    told(answer.frame + 1)
        except KeyboardInterrupt:
            stopped = True
        except SplitcError:
            if not json:
                sent = SendObject.of(device, to, results, stopped=True)
                _print(sent, several=several, json=False, quiet=quiet)
            raise
        sent = SendObject.of(device, to, results, stopped=stopped)
        if out is not None:
            results.write(Path(out), device.results, single=frames.single)
    _print(sent, several=several, json=json, quiet=quiet)
    if stopped:
        raise typer.Exit(130)


def _paced(frames: Inputs, repeat: int, rate: float) -> Iterator[Frame]:
    """All frames, as often as wanted and no faster than that."""
    start = time.monotonic()
    for count in range(repeat * len(frames)):
        if rate:
            time.sleep(max(start + count / rate - time.monotonic(), 0.0))
        yield frames[count % len(frames)]


@contextmanager
def _progress(quiet: bool, count: int) -> Generator[Callable[[int], None]]:
    """A function to call with the frames that are done: one line on a terminal, else nothing."""
    from splitc.cli import show

    console = show.err()
    if quiet or not console.is_terminal:
        yield lambda done: None
        return
    with console.status("sending") as status:
        yield lambda done: status.update(f"{done:,} of {count:,} frames")


def _print(sent: SendObject, *, several: bool, json: bool, quiet: bool) -> None:
    from rich.table import Table

    from splitc.cli import show

    if json:
        show.print_json(sent)
        return
    console = show.out()
    who = {"server": "the server", "whole": "the whole network here", "last": "the last answer",
           "nobody": "nobody"}  # fmt: skip
    answered = ", ".join(f"{n:,} by {who[origin]}" for origin, n in sent.origins.items() if n)
    console.print(
        f"{sent.frames:,} frames to {sent.to} over {sent.transport}: {answered or 'none'}"
    )
    if several:
        each = ", ".join(f"{n:,} by {name}" for name, n in sent.routes.items())
        many = "change" if sent.switches == 1 else "changes"
        console.print(f"routes: {each}; {sent.switches:,} {many}")
    if sent.share_p50 is not None:
        console.print(f"share of the boundary received: {sent.share_p50:.1%} at the median")
    if sent.accuracy is not None:
        console.print(f"accuracy: {sent.accuracy:.2%}", style="bold green")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("ms", "p50", "p95", "p99"):
        table.add_column(column, justify="left" if column == "ms" else "right")
    for name, spread_ms in (
        ("head", sent.head_ms), ("link and tail", sent.link_tail_ms),
        ("whole frame", sent.frame_ms),
    ):  # fmt: skip
        times = (spread_ms.p50, spread_ms.p95, spread_ms.p99)
        table.add_row(name, *("" if ms is None else f"{ms:.2f}" for ms in times))
    console.print(table)
    if quiet:
        return
    console.print(
        f"{sent.late:,} late, {sent.silent:,} given up, {sent.failed:,} failed; "
        f"{sent.packets_sent:,} packets ({show.short_bytes(sent.bytes_sent)}) sent, "
        f"{sent.packets_resent:,} of them again, {sent.packets_received:,} received, "
        f"{sent.duplicate:,} twice, {sent.malformed + sent.bad_seal:,} wrong",
        style="dim",
    )
