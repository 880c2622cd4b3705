# SPDX-License-Identifier: Apache-2.0
"""`splitc verify`: head and tail against the unsplit model's golden vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import gates
from splitc.cli import options as o

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitc.bundle.bundle import Bundle
    from splitc.bundle.difference import Difference
    from splitc.bundle.verify import Verification
    from splitc.runtime.codec_entry import CodecEntry
    from splitc.runtime.manifest import Manifest, Route


def verify(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder written by compile.")],
    emulate: Annotated[
        bool, typer.Option("--emulate", help="Run the real parts of another ISA under qemu.")
    ] = False,
    fail_on: gates.FailOn = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Check every file's hash, then head and tail against the golden vectors."""
    from splitc.bundle.bundle import Bundle, require
    from splitc.cli import show
    from splitc.cli.objects import VerifyObject

    opened = Bundle.open(bundle)
    wanted = gates.read_gates(fail_on, "verify", opened.manifest)
    with show.progress(quiet) as step:
        step("checking files, running head and tail")
        found = opened.verify(emulate=emulate)
    codec = opened.manifest.route.codec
    printed = VerifyObject.of(found, codec.cost if codec else None)
    printed = gates.judged(printed, wanted, opened.manifest)
    if json:
        show.print_json(printed)
        if not found.passed:
            raise typer.Exit(7)
        gates.close(printed.gates, json=True)
        return
    require(found)
    _print(bundle, opened, found, quiet=quiet)
    gates.close(printed.gates, json=False)


def _print(bundle: str, opened: Bundle, found: Verification, *, quiet: bool) -> None:
    """What was found, and what to type next."""
    from splitc.cli import show
    from splitc.cost.board import host_isa
    from splitc.cost.topology import DEVICE

    console = show.out()
    manifest = opened.manifest
    single = len(manifest.routes) == 1
    judged = _judged(manifest.route, found) if single else _by_route(manifest, found)
    costs = show.cost_lines(manifest.route.codec) if single else ()
    for line in (*judged, *_others(found), *costs):
        console.print(line, markup=False)
    for line in show.ran_lines({name: one.how for name, one in found.ran.items()}):
        console.print(line)
    worst = f"worst {found.worst.relative:.1e}, tolerance {found.tolerance:.0e}"
    console.print(f"verified: {worst}, {show.samples(found)}", style="bold green")
    if quiet:
        return
    twins = [
        name for name, one in found.ran.items()
        if one.how.startswith("host build") and opened.part(name).isa != host_isa()
    ]  # fmt: skip
    if twins:
        which = " and ".join(twins) if len(twins) < 3 else f"{len(twins)} parts"
        emulated = f"\nNext: splitc verify {bundle} --emulate   (the real {which}, under qemu)"
        console.print(emulated, soft_wrap=True)
    parts = opened.manifest.parts
    if any(parts[name].site == DEVICE for name in twins):
        folders = "head" if single else "head-*"
        console.print(f"  or: scp -r {bundle}/{folders} pi@raspberrypi:", soft_wrap=True)


def _judged(route: Route, found: Verification) -> Iterator[str]:
    """What was found of the one route of a bundle, a tensor a line."""
    check = found.routes[route.name]
    inside = " with the codec" if route.codec else ""
    judged = (("boundary", "", check.boundary), ("result", inside, check.outputs),
              ("result", _over(route.codec), check.received))  # fmt: skip
    for what, where, differences in judged:
        yield from (_line(what, where, one) for one in differences)


def _by_route(manifest: Manifest, found: Verification) -> Iterator[str]:
    """What was found of each of several routes, a line each: its worst result."""
    for name, check in found.routes.items():
        worst = max((*check.results, *check.boundary), key=lambda one: one.relative)
        same = ", same arg-max" if all(one.same_argmax for one in check.results) else ""
        codec = manifest.route_named(name).codec
        agrees = f"; codec agrees {codec.cost.agreement:.1%}" if codec and codec.cost else ""
        yield f"route {name}: worst error {worst.relative:.1e}{same}{agrees}"


def _others(found: Verification) -> Iterator[str]:
    """What was found of parts that are on no route."""
    for name, differences in found.others.items():
        yield from (_line("result", f" by {name}", one) for one in differences)


def _line(what: str, where: str, one: Difference) -> str:
    same = ", same arg-max" if one.same_argmax and what == "result" else ""
    return f"{what} {one.name}{where}: relative error {one.relative:.1e}{same}"


def _over(codec: CodecEntry | None) -> str:
    """The channels that received values went over, in words."""
    if codec is None:
        return ""
    return " over " + ", ".join(f"{one.op}({one.settings})" for one in codec.channels)
