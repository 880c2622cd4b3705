# SPDX-License-Identifier: Apache-2.0
"""`splitc doctor`: what this machine has and lacks."""

from __future__ import annotations

import typer

from splitc.cli import options as o


def doctor(json: o.Json = False, quiet: o.Quiet = False) -> None:
    """Check what this machine has and lacks; exit status 6 if compiling would fail."""
    from rich.text import Text

    from splitc.build.doctor import diagnose
    from splitc.cli import show

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
        console.print("ready to compile" if not broken else "not ready to compile", style="bold")
    if broken:
        raise typer.Exit(6)
