# SPDX-License-Identifier: Apache-2.0
"""What pages say that is made from the code: `<!-- made: NAME ARGUMENT -->` stands for it.

On a code host such a comment is not seen, and the page reads well without it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import typer

from fields import fields
from messages import tables
from splitc.cli.app import app
from splitc.figures.table import FIGURES

MARKER = re.compile(r"^<!-- made: ([\w-]+)(?: (\S+))? -->$", re.M)


def fill(text: str) -> str:
    """A page with what its markers stand for.

    Raises:
        KeyError: Nothing is made under that name.
    """
    return MARKER.sub(lambda match: MAKERS[match[1]](match[2] or ""), text)


def verbs() -> dict[str, Any]:
    """Every verb of the command line, as Typer knows it."""
    command: Any = typer.main.get_command(app)
    return dict(command.commands)


def options(verb: str) -> str:
    """What a verb takes: its arguments, and a table of options for each panel of its help."""
    known = [each for each in verbs()[verb].params if not each.hidden and each.name != "help"]
    arguments = [each for each in known if each.param_type_name == "argument"]
    panels: dict[str, list[Any]] = {}
    for each in known:
        if each not in arguments:
            panels.setdefault(each.rich_help_panel or "Options", []).append(each)
    out = [f"## What `splitc {verb}` takes"]
    if arguments:
        rows = [f"| {code(_argument(each))} | {prose(each.help)} |" for each in arguments]
        out += ["\n".join(["| argument | |", "|---|---|", *rows])]
    for panel, members in panels.items():
        rows = [_option(each) for each in members]
        out += [f"### {panel}" if len(panels) > 1 else ""]
        out += ["\n".join(["| option | by default | |", "|---|---|---|", *rows])]
    return "\n\n".join(line for line in out if line)


def _argument(one: Any) -> str:
    return str(one.metavar or one.name.upper())


def _option(one: Any) -> str:
    value = "" if one.is_flag else f" {one.metavar or str(one.display_type).strip('<>').upper()}"
    names = ", ".join(code(flag) for flag in (*one.opts, *one.secondary_opts))
    named = f"{names} {code(value.strip())}" if value else names
    about = prose(one.help) + (" Repeatable." if one.multiple and "epeat" not in one.help else "")
    if one.envvar:
        about += f" {code(str(one.envvar))}"
    return f"| {named} | {_default(one)} | {about} |"


def _default(one: Any) -> str:
    if one.required:
        return "needed"
    if one.is_flag:
        no = one.secondary_opts and one.default is False
        return code(one.secondary_opts[0] if no else one.opts[0]) if one.secondary_opts else ""
    plain = one.default is None or callable(one.default) or one.default in ("", (), [])
    return "" if plain else code(str(one.default))


def code(text: str) -> str:
    """A text as code in a table's cell."""
    return f"`{text}`".replace("|", r"\|")


def prose(text: str | None) -> str:
    """A help text, which has rich's markup and backticks, as Markdown in a table's cell."""
    marked = re.sub(r"\[(?:b|bold)\](.*?)\[/(?:b|bold)?\]", r"`\1`", text or "")
    pieces = re.split(r"(`[^`]*`)", marked)
    plain = [re.sub(r"([\\*_<\[\]])", r"\\\1", piece) for piece in pieces[::2]]
    pieces[::2] = plain
    return " ".join("".join(pieces).replace("|", r"\|").split())


PACKAGES = ("splitc.evaluate", "splitc.finetune", "splitc.send", "splitc.serve", "splitc.simulate")
"""Packages whose public names the reference has beside those of `splitc` itself."""


def names(_argument: str) -> str:
    """The reference: every public name, with its docstring."""
    out: list[str] = []
    for package in ("splitc", *PACKAGES):
        public = importlib.import_module(package).__all__
        rows = [_named(package, name) for name in public if not name.startswith("__")]
        out += [f"## `{package}`", "```{eval-rst}\n" + "\n".join(rows) + "\n```"]
    return "\n\n".join(out)


def _named(package: str, name: str) -> str:
    value = getattr(importlib.import_module(package), name)
    if isinstance(value, type):
        return f".. autoclass:: {package}.{name}\n   :members:\n"
    kind = "autofunction" if callable(value) else "autodata"
    return f".. {kind}:: {package}.{name}\n"


def pays(argument: str) -> str:
    """Where a split pays, by network and device: `jpeg`, or against frames of `bytes` alone."""
    from pays import table

    return table(jpeg=argument == "jpeg")


def figures(_argument: str) -> str:
    """The table of figures."""
    rows = [
        f"| `{one.name}` | {one.unit} | {one.worse} | "
        f"{', '.join(one.sources)} | {prose(one.says)} |"
        for one in FIGURES.values()
    ]
    return "\n".join(["| figure | in | worse is | from | |", "|---|---|---|---|---|", *rows])


MAKERS: dict[str, Callable[[str], str]] = {
    "options": lambda verb: "\n\n".join(filter(None, (options(verb), fields(verb)))),
    "figures": figures,
    "names": names,
    "messages": lambda _argument: tables(),
    "pays": pays,
}
