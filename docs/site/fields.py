# SPDX-License-Identifier: Apache-2.0
"""What a verb prints with `--json`, as tables made from its schema."""

from __future__ import annotations

from typing import Any

from splitc.cli.schema import schema_of, verbs

WORDS = {"array": "list", "integer": "whole number", "boolean": "true or false", "null": "null"}


def fields(verb: str) -> str:
    """A table of the outermost fields for each object that a verb prints; "" where it prints none.

    Args:
        verb: Its name.
    """
    if verb not in verbs():
        return ""
    schema = schema_of(verb)
    names = [each["$ref"].rpartition("/")[2] for each in schema["anyOf"]]
    shown = [name for name in names if name != "ErrorObject"]
    out = [f"## What `splitc {verb} --json` prints"]
    for name in shown:
        known = schema["$defs"][name]["properties"]
        rows = [f"| `{field}` | {_type(kind)} |" for field, kind in known.items()]
        title = [f"### {name}"] if len(shown) > 1 else []
        out += [*title, "\n".join(["| field | |", "|---|---|", *rows])]
    out += [f"`splitc schema {verb}` has every field of it; a failure prints an `ErrorObject`."]
    return "\n\n".join(out)


def _type(schema: dict[str, Any]) -> str:
    """A JSON schema in words."""
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_type, schema["anyOf"])))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    kind: str = schema.get("type", "anything")
    if kind == "array" and schema.get("items"):
        return f"list of {_type(schema['items'])}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])} by name"
    return WORDS.get(kind, kind)
