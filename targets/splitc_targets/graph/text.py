# SPDX-License-Identifier: Apache-2.0
"""The rules' graph as text and back, so that a rewrite can be shown and tested without a network.

    %x0 : float32 1x4x5x5
    %w = constant(0.5 -1) : float32 2
    %1 = nn.conv2d[direct](%x0, %w) {groups=1, expression=maximum(x0, 0)} : float32 1x2x5x5
    return %1

A line a node, in the order they run, its kernels' family in brackets where it was chosen;
arguments as they stand: values, lists of values, plain Python. Constants of a few numbers are
written out, larger ones as `constant(#DIGEST)`, whose numbers a reader has to be given. The Relax
call that a node may carry is not written.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, cast

import numpy as np

from splitc_targets.graph.expression import Arg, Do, Expression, Num
from splitc_targets.graph.graph import Graph, Node, Value

Array = np.ndarray[Any, Any]
_WRITTEN_OUT = 16
"""Elements up to which a constant's numbers stand in the text."""
_LINE = re.compile(
    r"(?:(?P<names>%[^=]*?)\s*=\s*)?(?P<op>[\w.]+)(?:\[(?P<family>\w+)\])?\((?P<rest>.*)$"
)


class GraphTextError(ValueError):
    """A line that is no line of a graph."""


def print_graph(graph: Graph) -> str:
    """The graph as text; equal graphs give equal texts."""
    names = _names(graph)
    constants = count()
    lines = [f"{names[value]} : {_type(value)}" for value in graph.inputs]
    for node in graph.nodes:
        for value in node.inputs:
            if value.data is not None and value not in names:
                names[value] = f"%c{next(constants)}"
                lines.append(f"{names[value]} = constant({_numbers(value.data)}) : {_type(value)}")
        lines.append(_node(node, names))
    given = ", ".join(_argument(value, names) for value in graph.outputs)
    lines.append(f"return {given}" if graph.single else f"return ({given})")
    return "\n".join(lines) + "\n"


def _names(graph: Graph) -> dict[Value, str]:
    names = {value: f"%x{k}" for k, value in enumerate(graph.inputs)}
    made = (value for node in graph.nodes for value in node.outputs)
    return names | {value: f"%{k}" for k, value in enumerate(made)}


def _node(node: Node, names: Mapping[Value, str]) -> str:
    args = ", ".join(_argument(arg, names) for arg in node.args)
    attrs = ", ".join(f"{key}={_attribute(value)}" for key, value in node.attrs.items())
    given = ", ".join(names[value] for value in node.outputs)
    types = ", ".join(map(_type, node.outputs))
    op = f"{node.op}[{node.family}]" if node.family else node.op
    return f"{given} = {op}({args})" + (f" {{{attrs}}}" if attrs else "") + f" : {types}"


def _argument(arg: Any, names: Mapping[Value, str]) -> str:
    if isinstance(arg, Value):
        return names.get(arg, "%?")
    if isinstance(arg, list):
        return "[" + ", ".join(_argument(each, names) for each in cast("list[Any]", arg)) + "]"
    return repr(arg)


def _attribute(value: Any) -> str:
    return print_expression(value) if isinstance(value, Arg | Num | Do) else repr(value)


def print_expression(expression: Expression) -> str:
    """An expression in one line, numbers to their last digit."""
    if isinstance(expression, Arg):
        return f"x{expression.index}"
    if isinstance(expression, Num):
        return repr(float(expression.value))
    return f"{expression.op}({', '.join(map(print_expression, expression.args))})"


def _type(value: Value) -> str:
    shape = "x".join(map(str, value.shape)) or "scalar"
    return f"{value.dtype} {shape}" + (" half" if value.half else "")


def _numbers(data: Array) -> str:
    if data.size <= _WRITTEN_OUT:
        return " ".join(repr(each.item()) for each in data.ravel())
    return "#" + hashlib.sha256(np.ascontiguousarray(data).tobytes()).hexdigest()[:12]


def parse_graph(source: str, data: Mapping[str, Array] | None = None) -> Graph:
    """The graph of a text.

    Args:
        source: The text; indentation and empty lines mean nothing.
        data: Numbers of constants that the text does not write out, by name without `%`.

    Raises:
        GraphTextError: A line that is none, a value that was not made, a constant without numbers.
    """
    graph = Graph([], [], [])
    known: dict[str, Value] = {}
    for line in filter(None, map(str.strip, source.splitlines())):
        if line.startswith("return "):
            given = line.removeprefix("return ").strip()
            graph.single = not given.startswith("(")
            graph.outputs = [_value(name, known) for name in _split(given.strip("()"))]
        elif "=" not in line.partition(":")[0]:
            name, _, kind = line.partition(":")
            graph.inputs.append(_define(name.strip(), kind, known))
        else:
            _parse_made(line, graph, known, data or {})
    return graph


def _parse_made(
    line: str, graph: Graph, known: dict[str, Value], data: Mapping[str, Array]
) -> None:
    match = _LINE.match(line)
    body, colon, kinds = line.rpartition(" : ")
    if match is None or not colon or match["names"] is None:
        raise GraphTextError(f"no line of a graph: {line}")
    names = _split(match["names"])
    inside, after = _closing(body[match.start("rest") :])
    if match["op"] == "constant":
        value = _define(names[0], kinds, known)
        value.data = _read_numbers(names[0], inside, value, data)
        return
    attrs = after.strip().removeprefix("{").removesuffix("}")
    node = Node(
        match["op"],
        [_read_argument(arg, known) for arg in _split(inside)],
        {key: _read_attribute(each) for key, _, each in (a.partition("=") for a in _split(attrs))},
        family=match["family"] or "",
    )
    for name, kind in zip(names, _split(kinds), strict=True):
        node.outputs.append(_define(name, kind, known))
        node.outputs[-1].producer = node
    graph.nodes.append(node)


def _define(name: str, kind: str, known: dict[str, Value]) -> Value:
    words = kind.split()
    if not name.startswith("%") or len(words) < 2:
        raise GraphTextError(f"no value: {name} : {kind}")
    shape = () if words[1] == "scalar" else tuple(int(each) for each in words[1].split("x"))
    known[name] = Value(shape, words[0], half="half" in words[2:])
    return known[name]


def _value(name: str, known: Mapping[str, Value]) -> Value:
    if name not in known:
        raise GraphTextError(f"{name} was not made")
    return known[name]


def _read_numbers(name: str, inside: str, value: Value, data: Mapping[str, Array]) -> Array:
    given = data.get(name.removeprefix("%"))
    if given is None:
        if inside.startswith("#"):
            raise GraphTextError(f"{name} has no numbers")
        read = [_plain(each) for each in inside.split()]
        given = np.array(read, value.dtype)
        given = given.reshape(value.shape) if given.size == value.size else given
    if tuple(given.shape) != value.shape or str(given.dtype) != value.dtype:
        raise GraphTextError(f"{name} is {given.dtype} {given.shape}")
    return given


def _read_argument(word: str, known: Mapping[str, Value]) -> Any:
    if word.startswith("%"):
        return _value(word, known)
    if word.startswith("["):
        return [_read_argument(each, known) for each in _split(word[1:-1])]
    return _plain(word)


def _plain(word: str) -> Any:
    if word in ("nan", "inf", "-inf"):
        return float(word)
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError) as error:
        raise GraphTextError(f"neither a value nor plain: {word}") from error


def _read_attribute(word: str) -> Any:
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return parse_expression(word)


def parse_expression(word: str) -> Expression:
    """An expression as `print_expression` writes it.

    Raises:
        GraphTextError: It is none.
    """
    head, bracket, rest = word.partition("(")
    if bracket:
        inside, after = _closing(rest)
        if after or not head.isidentifier():
            raise GraphTextError(f"no expression: {word}")
        return Do(head, tuple(parse_expression(each) for each in _split(inside)))
    if re.fullmatch(r"x\d+", word):
        return Arg(int(word[1:]))
    return Num(float(_plain(word)))


def _closing(rest: str) -> tuple[str, str]:
    """What stands before the bracket that closes, and behind it."""
    depth = 1
    for place, sign in enumerate(rest):
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0:
            return rest[:place], rest[place + 1 :]
    raise GraphTextError(f"a bracket is not closed: {rest}")


def _split(words: str) -> list[str]:
    """What stands between commas that are in no bracket."""
    return list(_parts(words))


def _parts(words: str) -> Iterator[str]:
    depth, start = 0, 0
    for place, sign in enumerate(words):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            yield words[start:place].strip()
            start = place + 1
    if words[start:].strip():
        yield words[start:].strip()
