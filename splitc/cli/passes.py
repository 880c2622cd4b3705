# SPDX-License-Identifier: Apache-2.0
"""`splitc passes`: the passes, cutters and recipes there are, with options and specification."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splitc.cli import options as o

if TYPE_CHECKING:
    from splitc.cli.listings import OptionObject

_TITLES = {
    "passes": "",
    "cutters": "Cutters, for --cutter",
    "recipes": "Recipes for `splitc finetune`",
}
"""The kinds in their order, and what stands above each."""


def passes(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="Print the specification of this pass, cutter or recipe."
        ),
    ] = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """List the passes, cutters and recipes of `splitc finetune`, or print one's specification."""
    from splitc.cli import show
    from splitc.plugins import find, plugins

    kinds = {one: kind for kind in reversed(_TITLES) for one in sorted(getattr(plugins(), kind))}
    names = [name] if name else sorted(kinds, key=lambda one: ([*_TITLES].index(kinds[one]), one))
    found: dict[str, Any] = {one: find(kinds.get(one, "passes"), one) for one in names}
    if json:
        from splitc.cli.listings import ItemObject, PassesObject

        shown: dict[str, tuple[ItemObject, ...]] = {}
        for one, cls in found.items():
            item = ItemObject(name=one, options=_options(cls), specification=_spec(cls))
            shown[kinds[one]] = (*shown.get(kinds[one], ()), item)
        show.print_json(
            PassesObject(
                passes=shown.get("passes", ()), cutters=shown.get("cutters", ()),
                recipes=shown.get("recipes", ()),
            )
        )  # fmt: skip
        return
    from rich.text import Text

    console = show.out()
    for one, cls in found.items():
        if name:
            console.print(_spec(cls), markup=False)
            continue
        title = _TITLES[kinds[one]]
        if title and one == next(n for n in names if kinds[n] == kinds[one]):
            console.print(f"\n{title}:")
        console.print(Text.assemble((one, "bold"), "  " + _spec(cls).splitlines()[0]))
        for option in _options(cls):
            value = "  (must be given)" if option.required else f"={option.default}"
            console.print(f"    {option.name}{value}", style="dim", markup=False)


def _spec(cls: Any) -> str:
    import inspect

    return inspect.cleandoc(cls.__doc__ or "")


def _options(cls: Any) -> tuple[OptionObject, ...]:
    from splitc.cli.listings import OptionObject

    return tuple(
        OptionObject(
            name=field.name,
            type=str(field.type),
            required=field.default is dataclasses.MISSING,
            default=None if field.default is dataclasses.MISSING else field.default,
        )
        for field in dataclasses.fields(cls)
    )
