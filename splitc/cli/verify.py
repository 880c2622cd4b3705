# SPDX-License-Identifier: Apache-2.0
"""`splitc verify`: head and tail against the unsplit model's golden vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from splitc.cli import options as o

if TYPE_CHECKING:
    from splitc.manifest import CodecEntry


def verify(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder written by compile.")],
    emulate: Annotated[
        bool, typer.Option("--emulate", help="Run the real head of another ISA under qemu.")
    ] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Check every file's hash, then head and tail against the golden vectors."""
    from splitc.bundle import Bundle, require
    from splitc.cli import show

    opened = Bundle.open(bundle)
    with show.progress(quiet or json) as step:
        step("checking files, running head and tail")
        found = opened.verify(emulate=emulate)
    if json:
        show.print_json(
            {
                "passed": found.passed,
                "tolerance": found.tolerance,
                "head_ran": found.head_ran,
                "boundary": [_difference(d) for d in found.boundary],
                "outputs": [_difference(d) for d in found.outputs],
                "received": [_difference(d) for d in found.received],
                "head_ms": found.head.first_ms,
                "tail_ms": found.tail.first_ms,
            }
        )
        if not found.passed:
            raise typer.Exit(7)
        return
    require(found)
    console = show.out()
    over = _over(opened.manifest.codec)
    judged = (("boundary", "", found.boundary), ("result", "", found.outputs),
              ("result", over, found.received))  # fmt: skip
    for what, where, differences in judged:
        for one in differences:
            same = ", same arg-max" if one.same_argmax and what == "result" else ""
            console.print(
                f"{what} {one.name}{where}: relative error {one.relative:.1e}{same}", markup=False
            )
    console.print(f"head ran as {found.head_ran}")
    console.print(
        f"verified: worst {found.worst.relative:.1e}, tolerance {found.tolerance:.0e}",
        style="bold green",
    )
    if quiet:
        return
    if not emulate and found.head_ran.startswith("host build"):
        console.print(f"\nNext: splitc verify {bundle} --emulate   (the real head, under qemu)")
        console.print(f"  or: scp -r {bundle}/head pi@raspberrypi:")


def _over(codec: CodecEntry | None) -> str:
    """The channels that received values went over, in words."""
    if codec is None:
        return ""
    return " over " + ", ".join(f"{one.op}({one.settings})" for one in codec.channels)


def _difference(one: Any) -> dict[str, Any]:
    return {"name": one.name, "relative_error": one.relative, "same_argmax": one.same_argmax}
