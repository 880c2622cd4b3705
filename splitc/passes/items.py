# SPDX-License-Identifier: Apache-2.0
"""Passes, recipes and cutters as text: `name(option=value)`, read and written."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from splitc.errors import UsageError, nearest
from splitc.plugins import find


def item_text(name: str, item: Any) -> str:
    """A dataclass as text that parses back to it: its name, and options that are no defaults."""
    changed = [
        f"{f.name}={json.dumps(getattr(item, f.name))}"
        for f in dataclasses.fields(item)
        if f.default is dataclasses.MISSING or getattr(item, f.name) != f.default
    ]
    return name + (f"({', '.join(changed)})" if changed else "")


_ITEM = re.compile(r"\s*(?P<name>[a-z][a-z0-9-]*)\s*(?P<open>\()?")


_OPTION = re.compile(r"\s*(?P<key>[a-z_][a-z0-9_]*)\s*=\s*")


def parse_items(kind: str, text: str) -> Iterator[Any]:
    """The objects that a text like `name(option=value), name` says, of a kind that packs bring.

    Raises:
        UsageError: An unknown name or option, or malformed text.
    """
    at = 0
    while text[at:].strip():
        match = _ITEM.match(text, at)
        if match is None:
            raise UsageError("pipeline text is malformed", at=text[at:].strip()[:40])
        at = match.end()
        options: dict[str, Any] = {}
        if match["open"]:
            options, at = _parse_options(text, at)
        yield make_item(kind, match["name"], options)
        rest = text[at:].lstrip()
        if rest and not rest.startswith(","):
            raise UsageError("pipeline text is malformed", at=rest[:40], hint="put a comma between")
        at = len(text) - len(rest) + 1 if rest else len(text)


def parse_item(kind: str, text: str, *, what: str, example: str) -> Any:
    """The one object that a text says.

    Args:
        kind: See `parse_items`.
        text: See `parse_items`.
        what: What it is, for people.
        example: The name of one.

    Raises:
        UsageError: As `parse_items`; or it says none, or several.
    """
    found = [*parse_items(kind, text)]
    if len(found) != 1:
        raise UsageError(f"'{text}' is not one {what}", hint=f"name one: {example}")
    return found[0]


def _parse_options(text: str, at: int) -> tuple[dict[str, Any], int]:
    options: dict[str, Any] = {}
    decoder = json.JSONDecoder()
    while not text[at:].lstrip().startswith(")"):
        match = _OPTION.match(text, at)
        try:
            if match is None:
                raise ValueError("no option")
            options[match["key"]], at = decoder.raw_decode(text, match.end())
        except ValueError as error:
            where = text[at:].strip()[:40] or "end of text"
            hint = 'options are written key=value, the value as JSON: rule="paper"'
            raise UsageError("pipeline text is malformed", at=where, hint=hint) from error
        rest = text[at:].lstrip()
        if rest.startswith(","):
            at = len(text) - len(rest) + 1
    return options, len(text) - len(text[at:].lstrip()) + 1


def make_item(kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """The dataclass of a kind and name that packs bring, with these options.

    Raises:
        UsageError: There is none, no such option, or a value of the wrong type.
    """
    cls: Any = find(kind, name)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in options.items():
        if key not in fields:
            raise UsageError(f"{name} has no option '{key}'", hint=nearest(key, fields))
        values[key] = _checked(name, key, value, hints[key])
    for key, spec in fields.items():
        if key not in values and spec.default is dataclasses.MISSING:
            raise UsageError(f"{name} needs the option '{key}'")
    return cls(**values)


def _checked(name: str, key: str, value: Any, hint: Any) -> Any:
    import msgspec

    try:
        return msgspec.convert(value, hint, strict=True)
    except msgspec.ValidationError as error:
        raise UsageError(f"{name}: option '{key}'", why=str(error)) from error
