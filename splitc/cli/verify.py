# SPDX-License-Identifier: Apache-2.0
"""`splitc verify`: head and tail against the unsplit model's golden vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o

if TYPE_CHECKING:
    from splitc.runtime.codec_entry import CodecEntry


def verify(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder written by compile.")],
    emulate: Annotated[
        bool, typer.Option("--emulate", help="Run the real parts of another ISA under qemu.")
    ] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Check every file's hash, then head and tail against the golden vectors."""
    from splitc.bundle.bundle import Bundle, require
    from splitc.cli import show
    from splitc.cost.board import host_isa
    from splitc.cost.topology import DEVICE

    opened = Bundle.open(bundle)
    with show.progress(quiet or json) as step:
        step("checking files, running head and tail")
        found = opened.verify(emulate=emulate)
    if json:
        from splitc.cli.objects import VerifyObject

        codec = opened.manifest.route.codec
        show.print_json(VerifyObject.of(found, codec.cost if codec else None))
        if not found.passed:
            raise typer.Exit(7)
        return
    require(found)
    console = show.out()
    over = _over(opened.manifest.route.codec)
    inside = " with the codec" if opened.manifest.route.codec else ""
    beside = [("result", f" by {name}", each) for name, each in found.others.items()]
    judged = (("boundary", "", found.boundary), ("result", inside, found.outputs),
              ("result", over, found.received), *beside)  # fmt: skip
    for what, where, differences in judged:
        for one in differences:
            same = ", same arg-max" if one.same_argmax and what == "result" else ""
            console.print(
                f"{what} {one.name}{where}: relative error {one.relative:.1e}{same}", markup=False
            )
    for line in show.cost_lines(opened.manifest.route.codec):
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
        which = " and ".join(twins)
        console.print(f"\nNext: splitc verify {bundle} --emulate   (the real {which}, under qemu)")
    parts = opened.manifest.parts
    for name in (name for name in twins if parts[name].site == DEVICE):
        console.print(f"  or: scp -r {bundle}/{parts[name].folder} pi@raspberrypi:")


def _over(codec: CodecEntry | None) -> str:
    """The channels that received values went over, in words."""
    if codec is None:
        return ""
    return " over " + ", ".join(f"{one.op}({one.settings})" for one in codec.channels)
