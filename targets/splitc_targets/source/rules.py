# SPDX-License-Identifier: Apache-2.0
"""What a table of operators says: who reads an attribute, which values, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from splitc_targets.source.draft import Node

FLOATS = ("float16", "float32", "float64")
WIDE = ("float32", "float64")
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = (*SIGNED, *UNSIGNED)
NUMBERS = (*FLOATS, *INTEGERS)
ANY = (*NUMBERS, "bool")

Kind = Literal["read", "only", "stored", "refused"]


@dataclass(frozen=True)
class Rule:
    """What becomes of one attribute, optional input or optional output.

    Args:
        by: Who reads it: "TVM", "splitc" or "onnx", whose version converter turns it into what
            later opsets have.
        kind: "read" with every value; "only" with some; "stored" where it is a constant;
            "refused" where it is given, or for an output where it is read.
        values: The values of "only".
        why: Why others are refused.
    """

    by: str = "TVM"
    kind: Kind = "read"
    values: tuple[Any, ...] = ()
    why: str = ""


TVM = Rule()
OURS = Rule("splitc")
OLDER = Rule("onnx", "refused", why="onnx's version converter knows no way to opset 13")
STORED = Rule("TVM", "stored", why="it is computed, and it decides the loops")


def only(*values: Any, why: str, by: str = "TVM") -> Rule:
    """An attribute that is read with some values."""
    return Rule(by, "only", values, why)


def stored(by: str = "splitc") -> Rule:
    """An input that has to be a constant."""
    return Rule(by, "stored", why="it is computed, and it decides the loops")


def refused(why: str) -> Rule:
    """What is refused where it is given or read."""
    return Rule("", "refused", why=why)


Rules = Mapping[str, Rule]
Check = Callable[[Node], str]


def _nothing(_: Node) -> str:
    return ""


@dataclass(frozen=True)
class Operator:
    """One operator of ONNX's.

    Args:
        by: Who computes it: "TVM", "splitc" (rewritten, or replaced by its function) or "" where
            it is refused.
        why: Why it is refused.
        attributes: Rules by attribute.
        inputs: Rules by optional input, and of others that have to be constants.
        outputs: Rules by optional output.
        types: Element types of the first input; none where any is taken.
        check: What no single rule can say: why a node is refused, or "".
        note: What `check` refuses, in words.
    """

    by: str = "TVM"
    why: str = ""
    attributes: Rules = field(default_factory=dict[str, Rule])
    inputs: Rules = field(default_factory=dict[str, Rule])
    outputs: Rules = field(default_factory=dict[str, Rule])
    types: tuple[str, ...] = ()
    check: Check = _nothing
    note: str = ""


def op(by: str = "TVM", *names: str, **rest: Any) -> Operator:
    """An operator; the attributes named are read by whoever computes it."""
    rule = TVM if by == "TVM" else Rule(by)
    given: dict[str, Rule] = dict.fromkeys(names, rule)
    return Operator(by, attributes=given | dict(rest.pop("attributes", {})), **rest)


def missing(why: str = "TVM has no converter for it") -> Operator:
    """An operator that is refused whatever it says."""
    return Operator("", why)
