# SPDX-License-Identifier: Apache-2.0
"""`splitc bench`: whole-part times of a bundle on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import gates
from splitc.cli import options as o

if TYPE_CHECKING:
    from rich.table import Table

    from splitc.bundle.measure import Measured, Times
    from splitc.runtime.manifest import Manifest


def bench(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder written by compile.")],
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="N", help="How long to measure.")
    ] = 5.0,
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", min=1, max=256,
                     help="Of compiled code; one a core by default."),
    ] = None,
    device: o.Device = None,
    route: o.Route = None,
    fail_on: gates.FailOn = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Measure every part of BUNDLE in this process: times, loading, memory."""
    from splitc.bundle.bundle import Bundle
    from splitc.bundle.measure import measure
    from splitc.cli import show
    from splitc.cli.objects import BenchObject

    o.use_device(device)
    opened = Bundle.open(bundle)
    wanted = gates.read_gates(fail_on, "bench", opened.manifest)
    if threads is not None:
        # Where the runtime looks before its first loop.
        os.environ["SPLITC_NUM_THREADS"] = str(threads)
    with show.progress(quiet) as step:
        step(f"measuring for {seconds:g} s")
        found = measure(opened, seconds, route)
    printed = gates.judged(BenchObject.of(bundle, found), wanted, opened.manifest)
    if json:
        show.print_json(printed)
    else:
        _print(found, opened.manifest)
    gates.close(printed.gates, json=json)


def _print(found: Measured, manifest: Manifest) -> None:
    """What was measured, as a table."""
    from splitc.cli import show

    console = show.out()
    console.print(_table(found, manifest))
    for line in show.ran_lines({name: one.ran for name, one in found.parts.items()}):
        console.print(line)
    plural = "" if found.threads == 1 else "s"
    count = f"{found.threads} thread{plural}, " if found.threads else ""
    resident = show.short_bytes(found.resident_bytes)
    console.print(
        f"{count}{found.routes[found.default].calls} rounds; this process holds {resident}"
    )


def _table(found: Measured, manifest: Manifest) -> Table:
    from rich.table import Table

    from splitc.cli import show

    view = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    view.add_column("part", no_wrap=True, overflow="ellipsis", max_width=24)
    for name in ("frames", "median ms", "p95 ms", "p99 ms", "load ms", "memory"):
        view.add_column(name, justify="right", no_wrap=True)

    def row(name: str, frames: str, times: Times, load: str, memory: str) -> None:
        figures = (f"{ms:,.3f}" for ms in (times.median_ms, times.p95_ms, times.p99_ms))
        view.add_row(show.plain(name), frames, *figures, load, memory)

    for name, one in found.parts.items():
        memory = show.short_bytes(one.resident_bytes)
        row(name, str(one.frames), one.times, f"{one.load_ms:,.1f}", memory)
    for name, times in found.routes.items():
        alone = len(manifest.routes) == 1
        row("+".join(manifest.route.parts) if alone else f"route {name}", "1", times, "", "")
    return view
