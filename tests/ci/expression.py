# SPDX-License-Identifier: Apache-2.0
"""The expressions of GitHub Actions that our files use: names, text, comparisons, `&&`, `||`, `!`.

As https://docs.github.com/en/actions/reference/workflows-and-actions/expressions says: what is
not there is "", text is compared without case, and `&&` and `||` give one of their operands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|==|!=|&&|\|\||[!()]|[\w-]+(?:\.[\w-]+)*)")
_WHOLE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
LITERALS = {"true": True, "false": False, "null": None}
CONTEXTS = ("env", "github", "inputs", "matrix", "needs", "runner", "steps")


def fill(text: str, contexts: Mapping[str, Any]) -> str:
    """Text with the value of each `${{ }}` in its place."""
    return _WHOLE.sub(lambda found: shown(evaluate(found[1], contexts)), text)


def shown(value: Any) -> str:
    """A value as the text that it becomes."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def truth(value: Any) -> bool:
    """Whether a value counts as true."""
    return value not in (None, False, "", 0)


def evaluate(text: str, contexts: Mapping[str, Any]) -> Any:
    """The value of an expression.

    Raises:
        ValueError: It is malformed, or uses what is not known here.
    """
    tokens: list[str] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"not an expression: {text[at:]}")
        tokens.append(found[1])
        at = found.end()
    reader = _Reader(tokens, contexts)
    value = reader.either()
    if reader.tokens:
        raise ValueError(f"left over: {reader.tokens}")
    return value


@dataclass
class _Reader:
    tokens: list[str]
    contexts: Mapping[str, Any]

    def next_is(self, token: str) -> bool:
        if self.tokens[:1] == [token]:
            del self.tokens[0]
            return True
        return False

    def either(self) -> Any:
        value = self.both()
        while self.next_is("||"):
            other = self.both()
            value = value if truth(value) else other
        return value

    def both(self) -> Any:
        value = self.equal()
        while self.next_is("&&"):
            other = self.equal()
            value = other if truth(value) else value
        return value

    def equal(self) -> Any:
        value = self.one()
        while self.tokens[:1] in (["=="], ["!="]):
            wanted = self.tokens.pop(0) == "=="
            value = (shown(value).lower() == shown(self.one()).lower()) == wanted
        return value

    def one(self) -> Any:
        if self.next_is("!"):
            return not truth(self.one())
        if self.next_is("("):
            value = self.either()
            if not self.next_is(")"):
                raise ValueError("a bracket that nothing closes")
            return value
        if not self.tokens:
            raise ValueError("it ends too early")
        token = self.tokens.pop(0)
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        return LITERALS[token] if token in LITERALS else self.named(token)

    def named(self, token: str) -> Any:
        first, *rest = token.split(".")
        if first not in CONTEXTS:
            raise ValueError(f"'{token}' is not known here")
        value: Any = self.contexts.get(first, {})
        for name in rest:
            value = (
                cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None
            )
        return value
