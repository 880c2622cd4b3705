# SPDX-License-Identifier: Apache-2.0
"""`splitc passes`: the passes and recipes there are, with options and specification."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from splitc.cli import options as o


def passes(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Print the specification of this pass or recipe."),
    ] = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """List the passes, and the recipes of `splitc finetune`, or print one's specification."""
    from splitc.cli import show
    from splitc.plugins import find, plugins

    kinds = dict.fromkeys(plugins().recipes, "recipes") | dict.fromkeys(plugins().passes, "passes")
    names = [name] if name else sorted(kinds, key=lambda one: (kinds[one], one))
    found: dict[str, Any] = {one: find(kinds.get(one, "passes"), one) for one in names}
    if json:
        shown: dict[str, list[dict[str, Any]]] = {"passes": [], "recipes": []}
        for one, cls in found.items():
            item = {"name": one, "options": _options(cls), "specification": _spec(cls)}
            shown[kinds[one]].append(item)
        show.print_json(shown)
        return
    from rich.text import Text

    console = show.out()
    for one, cls in found.items():
        if name:
            console.print(_spec(cls), markup=False)
            continue
        if one == next((n for n in names if kinds[n] == "recipes"), ""):
            console.print("\nRecipes for `splitc finetune`:")
        console.print(Text.assemble((one, "bold"), "  " + _spec(cls).splitlines()[0]))
        for option in _options(cls):
            value = "=" + str(option["default"]) if not option["required"] else "  (must be given)"
            console.print(f"    {option['name']}{value}", style="dim", markup=False)


def _spec(cls: Any) -> str:
    import inspect

    return inspect.cleandoc(cls.__doc__ or "")


def _options(cls: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": field.name,
            "type": str(field.type),
            "required": field.default is dataclasses.MISSING,
            "default": None if field.default is dataclasses.MISSING else field.default,
        }
        for field in dataclasses.fields(cls)
    ]
