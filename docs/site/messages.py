# SPDX-License-Identifier: Apache-2.0
"""Every message that the code gives with an error, by the error's class; `…` is what varies."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from places import ROOT
from splitc import errors

FOLDERS = ("splitc", "passes", "targets")
LONGEST = 120


def classes() -> dict[str, type[errors.SplitcError]]:
    """The errors that there are, in the order in which splitc/errors.py has them."""
    found = vars(errors).values()
    known = [one for one in found if isinstance(one, type) and issubclass(one, errors.SplitcError)]
    return {one.__name__: one for one in known if one is not errors.SplitcError}


@cache
def messages() -> dict[str, dict[str, str]]:
    """By class, the messages that are written where the error is raised, each with its hint."""
    found: dict[str, dict[str, str]] = {name: {} for name in classes()}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            _collect(path, found)
    return found


def _collect(path: Path, found: dict[str, dict[str, str]]) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
            continue
        what = _text(node.args[0])
        if node.func.id in found and what.strip("… "):
            hint = next((_text(k.value) for k in node.keywords if k.arg == "hint"), "")
            found[node.func.id].setdefault(what, hint)


def _text(node: ast.expr) -> str:
    """A text with `…` for what is filled in; empty for what is computed as a whole."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts = [_text(part) if isinstance(part, ast.Constant) else "…" for part in node.values]
    return "".join(parts)


def tables() -> str:
    """Every message and its hint, a table a class, as Markdown."""
    out: list[str] = []
    for name, known in messages().items():
        pairs = sorted(known.items(), key=_letters)
        rows = [f"| {_cell(what)} | {_cell(hint)} |" for what, hint in pairs]
        if rows:
            table = "\n".join(["| message | hint |", "|---|---|", *rows])
            out += [f"### Messages of {name}", table]
    return "\n\n".join(out)


def _letters(item: tuple[str, str]) -> str:
    return item[0].lstrip("…' ").lower()


def _cell(text: str) -> str:
    shown = " ".join(text.split()).replace("`", "'").replace("|", r"\|")
    return f"`{shown[:LONGEST]}`" if shown.strip("… ") else ""
