# SPDX-License-Identifier: Apache-2.0
"""`splitc passes`: the passes there are, with options and specification."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from splitc.cli import options as o


def passes(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Print this pass's specification.")
    ] = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """List the passes, or print one's specification."""
    from splitc.cli import show
    from splitc.plugins import find, plugins

    names = [name] if name else sorted(plugins().passes)
    found: dict[str, Any] = {one: find("passes", one) for one in names}
    if json:
        show.print_json(
            {
                "passes": [
                    {"name": one, "options": _options(cls), "specification": _spec(cls)}
                    for one, cls in found.items()
                ]
            }
        )
        return
    from rich.text import Text

    console = show.out()
    for one, cls in found.items():
        if name:
            console.print(_spec(cls), markup=False)
            continue
        console.print(Text.assemble((one, "bold"), "  " + _spec(cls).splitlines()[0]))
        for option in _options(cls):
            console.print(f"    {option['name']}={option['default']}", style="dim", markup=False)


def _spec(cls: Any) -> str:
    import inspect

    return inspect.cleandoc(cls.__doc__ or "")


def _options(cls: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": field.name,
            "type": str(field.type),
            "default": None if field.default is dataclasses.MISSING else field.default,
        }
        for field in dataclasses.fields(cls)
    ]
