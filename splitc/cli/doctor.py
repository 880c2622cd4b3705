# SPDX-License-Identifier: Apache-2.0
"""`splitc doctor`: what this machine has and lacks, and what the link to a server is like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o
from splitc.errors import UsageError

if TYPE_CHECKING:
    from splitc.build.doctor import Check
    from splitc.link.measured import Losses
    from splitc.net.probing import Measured
    from splitc.net.sockets import Buffers

LinkTo = Annotated[
    str | None,
    typer.Option("--link", metavar="HOST:PORT", rich_help_panel=o.LINK,
                 help="Measure the link to a `splitc serve` instead, and say which options "
                 "describe it."),
]  # fmt: skip
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="FILE", envvar="SPLITC_KEY", rich_help_panel=o.LINK,
                 help="The server's key file."),
]  # fmt: skip
Mtu = Annotated[
    int,
    typer.Option("--mtu", metavar="BYTES", envvar="SPLITC_MTU", rich_help_panel=o.LINK,
                 help="Largest packet, headers included."),
]  # fmt: skip
Fetch = Annotated[
    bool,
    typer.Option("--fetch", help="Build now what the first compile for each instruction set "
                 "would build."),
]  # fmt: skip
Seconds = Annotated[
    float,
    typer.Option("--seconds", metavar="N", min=1, max=600, rich_help_panel=o.LINK,
                 help="How long measuring may take, about."),
]  # fmt: skip


def doctor(
    link: LinkTo = None,
    key: Key = None,
    mtu: Mtu = 1500,
    seconds: Seconds = 10.0,
    fetch: Fetch = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Check what this machine has and lacks; exit status 6 if compiling would fail. With --link,
    measure the link to a server."""
    if link is None:
        _machine(fetch=fetch, json=json, quiet=quiet)
    elif fetch:
        raise UsageError("--fetch and --link", hint="one after the other")
    else:
        _link(link, key, mtu, seconds, json=json, quiet=quiet)


def _machine(*, fetch: bool, json: bool, quiet: bool) -> None:
    from rich.text import Text

    from splitc.build.doctor import diagnose
    from splitc.cli import show

    found = diagnose()
    to_make = [check for check in found if fetch and not check.ok and check.make is not None]
    with show.progress(quiet) as step:
        for check in to_make:
            step(f"building the {check.name}")
            if check.make is not None:
                check.make()
    if to_make:
        found = diagnose()
    broken = [check for check in found if check.needed and not check.ok]
    if json:
        from splitc.cli.listings import DoctorObject, FoundObject

        checks = tuple(map(FoundObject.of, found))
        show.print_json(DoctorObject(ready=not broken, checks=checks))
    else:
        console = show.out()
        for check in found:
            if check.ok and quiet:
                continue
            mark = "ok" if check.ok else "missing" if check.needed else "absent"
            colour = {"ok": "green", "missing": "red", "absent": "yellow"}[mark]
            line = f" {check.name:16} {check.found or check.hint}"
            console.print(Text.assemble((f"{mark:7}", colour), line))
        console.print(_verdict(found), style="bold")
    if broken:
        raise typer.Exit(6)


def _verdict(found: list[Check]) -> str:
    """Whether a compile would succeed now, and what it would do first."""
    if any(check.needed and not check.ok for check in found):
        return "not ready to compile"
    to_make = [check.name for check in found if not check.ok and check.make is not None]
    if not to_make:
        return "ready to compile"
    return f"ready to compile, after building: {', '.join(to_make)} (splitc doctor --fetch)"


def _link(link: str, key: str | None, mtu: int, seconds: float, *, json: bool, quiet: bool) -> None:
    from splitc.cli import show
    from splitc.net.address import Address
    from splitc.send.link_check import check_link
    from splitc.wire.key_file import read_key

    to = Address.parse(link)
    secret = None if key is None else read_key(Path(key))
    with show.progress(quiet) as tell:
        tell(f"measuring the link to {to}, about {seconds:g} s")
        found, buffers = check_link(to, secret, mtu=mtu, seconds=seconds)
    if json:
        from splitc.cli.link_object import LinkCheckObject

        show.print_json(LinkCheckObject.of(str(to), mtu, found, buffers))
        return
    console = show.out()
    for name, text in _rows(found, buffers):
        console.print(f"{name:15} {text}")
    console.print(f"options: {' '.join(found.flags(mtu))}", style="bold")
    if buffers.warning and not quiet:
        show.err().print(f"splitc: {buffers.warning}")


def _rows(found: Measured, buffers: Buffers) -> list[tuple[str, str]]:
    from splitc.cli.show import short_bytes
    from splitc.net.probing import three_digits

    rtt, up = found.rtt, found.up
    bandwidth = found.bandwidth_bps
    ms = [f"{three_digits(seconds * 1e3)} ms" for seconds in (rtt.median_s, rtt.least_s, rtt.p99_s)]
    return [
        (
            "bandwidth",
            "too fast to tell" if bandwidth is None else f"{three_digits(bandwidth / 1e6)} Mbit/s",
        ),
        ("round trip", f"{ms[0]}, at least {ms[1]}, 99 in 100 within {ms[2]} ({rtt.count} probes)"),
        ("loss", f"{up.rate:.1%} there ({up.packets} probes), {found.down_loss_rate:.1%} back"),
        ("bursts", _bursts(up)),
        ("receive buffer", f"{short_bytes(buffers.receive)} of {short_bytes(buffers.asked)} asked"),
    ]


def _bursts(up: Losses) -> str:
    if not up.lost:
        return "none"
    text = f"{up.bursts}, {up.mean_burst:.1f} packets long on average"
    alone = 1 / (1 - up.rate)
    if up.bursty:
        return f"{text}: bursty, independent losses would make it {alone:.1f}"
    return f"{text}: as independent losses are"
