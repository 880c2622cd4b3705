# SPDX-License-Identifier: Apache-2.0
"""The canonical text of a layer graph, and its parser.

One line a layer::

    %x = input() : 1x3x8x8
    %t = conv(%x) {params=448, flops=27648} : 1x4x8x8
    %a, %b = split(%t) {name="halves"} : 1x2x8x8, 1x2x8x8
    %i = argmax(%a) : 1x1x8x8 int64
    return %b, %i

A dtype is left out where it is float32; `name` where it is the first output's;
`return` where the results are the tensors nobody reads. `?` is an extent that
depends on data, `scalar` no extents, `*` an unknown rank.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from splitc.errors import BadModelError, UsageError
from splitc.ir.graph import Layer, LayerGraph, Tensor
from splitc.ir.printing import unread

_MOST_EXTENTS, _LARGEST = 64, 2**63 - 1
"""Of a tensor; what ONNX has room for. Without a bound their product could take minutes."""
_TOKEN = re.compile(
    r"""\s*(?:
      %(?P<quoted>"(?:[^"\\]|\\.)*")
    | %(?P<name>[\w./\-]+)
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<word>[\w.?*\-]+)
    | (?P<mark>[=(),{}:])
    )""",
    re.VERBOSE,
)


def parse_graph(text: str) -> LayerGraph:
    """Read a layer graph from its text.

    Args:
        text: One layer a line; blank lines and lines starting with `#` are skipped.

    Raises:
        BadModelError: The text is malformed, or the graph is none; names the line.
    """
    layers: list[Layer] = []
    outputs: tuple[str, ...] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        tokens = _Tokens(stripped, number)
        if stripped.split(None, 1)[0] == "return":
            tokens.expect("word", "return")
            outputs = tuple(tokens.names()) if tokens.peek("name") else ()
        else:
            layers.append(_parse_layer(tokens))
        tokens.end()
    return LayerGraph(tuple(layers), unread(layers) if outputs is None else outputs)


def read_graph(path: Path, max_bytes: int) -> LayerGraph:
    """Read a layer graph from a file of its text.

    Raises:
        UsageError: There is no such file.
        BadModelError: It is larger than the limit, not UTF-8, or `parse_graph` refuses it.
    """
    if not path.is_file():
        raise UsageError(f"there is no file '{path}'")
    with path.open("rb") as file:
        text = file.read(max_bytes + 1)
    if len(text) > max_bytes:
        raise BadModelError(f"'{path}' is too large", why=f"the limit is {max_bytes:,} bytes")
    try:
        return parse_graph(text.decode())
    except UnicodeDecodeError as error:
        raise BadModelError(f"'{path}' is no text", why=str(error)) from error


class _Tokens:
    def __init__(self, line: str, number: int) -> None:
        self.line = line
        self.number = number
        self.items = list(self._scan())
        self.at = 0

    def _scan(self) -> Iterator[tuple[str, str]]:
        at = 0
        while at < len(self.line):
            match = _TOKEN.match(self.line, at)
            if match is None or match.lastgroup is None:
                raise self.error(f"cannot read {self.line[at : at + 12]!r}")
            kind, text = match.lastgroup, match.group(match.lastgroup)
            if kind in ("quoted", "string"):
                try:
                    text = str(json.loads(text))
                except json.JSONDecodeError as error:
                    raise self.error(f"bad string {text}") from error
            yield ("name" if kind == "quoted" else kind), text
            at = match.end()

    def error(self, why: str) -> BadModelError:
        return BadModelError("graph text is malformed", at=f"line {self.number}", why=why)

    def peek(self, kind: str, text: str | None = None) -> bool:
        if self.at >= len(self.items):
            return False
        got = self.items[self.at]
        return got[0] == kind and (text is None or got[1] == text)

    def expect(self, kind: str, text: str | None = None) -> str:
        if not self.peek(kind, text):
            got = self.items[self.at][1] if self.at < len(self.items) else "end of line"
            raise self.error(f"expected {text or kind}, found {got}")
        self.at += 1
        return self.items[self.at - 1][1]

    def names(self) -> list[str]:
        found = [self.expect("name")]
        while self.peek("mark", ","):
            self.at += 1
            found.append(self.expect("name"))
        return found

    def end(self) -> None:
        if self.at < len(self.items):
            raise self.error(f"unexpected {self.items[self.at][1]}")


def _parse_layer(tokens: _Tokens) -> Layer:
    made = tokens.names()
    tokens.expect("mark", "=")
    op = tokens.expect("string" if tokens.peek("string") else "word")
    tokens.expect("mark", "(")
    inputs = tokens.names() if tokens.peek("name") else []
    tokens.expect("mark", ")")
    attrs = _parse_attrs(tokens)
    tokens.expect("mark", ":")
    outputs = [_parse_type(tokens, made[0])]
    while len(outputs) < len(made):
        tokens.expect("mark", ",")
        outputs.append(_parse_type(tokens, made[len(outputs)]))
    try:
        block = attrs.get("block")
        return Layer(
            name=attrs.get("name", made[0]),
            op=op,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            param_bytes=int(attrs.get("params", "0")),
            flops=int(attrs.get("flops", "0")),
            origin=attrs.get("origin", ""),
            kind=attrs.get("kind", ""),
            block=None if block is None else int(block),
        )
    except ValueError as error:
        raise tokens.error("an attribute that counts must be an integer") from error


def _parse_attrs(tokens: _Tokens) -> dict[str, str]:
    attrs: dict[str, str] = {}
    if not tokens.peek("mark", "{"):
        return attrs
    tokens.at += 1
    while not tokens.peek("mark", "}"):
        key = tokens.expect("word")
        if key not in ("name", "params", "flops", "kind", "block", "origin"):
            raise tokens.error(f"unknown attribute '{key}'")
        tokens.expect("mark", "=")
        attrs[key] = tokens.expect("string" if tokens.peek("string") else "word")
        if not tokens.peek("mark", "}"):
            tokens.expect("mark", ",")
    tokens.at += 1
    return attrs


def _parse_type(tokens: _Tokens, name: str) -> Tensor:
    dims = tokens.expect("word")
    dtype = tokens.expect("word") if tokens.peek("word") else "float32"
    if dims == "*":
        return Tensor(name, None, dtype)
    if dims == "scalar":
        return Tensor(name, (), dtype)
    try:
        shape = tuple(None if d == "?" else int(d) for d in dims.split("x"))
    except ValueError as error:
        raise tokens.error(f"bad shape '{dims[:80]}'") from error
    if len(shape) > _MOST_EXTENTS or any(d is not None and d > _LARGEST for d in shape):
        why = f"shape '{dims[:80]}' has over {_MOST_EXTENTS} extents, or one over 2^63 - 1"
        raise tokens.error(why)
    return Tensor(name, shape, dtype)
