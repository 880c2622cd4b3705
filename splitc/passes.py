# SPDX-License-Identifier: Apache-2.0
"""Passes and pipelines: how a model is rewritten step by step."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, final, get_type_hints

from splitc.errors import PassError, SplitcError, UsageError, nearest
from splitc.model import Model
from splitc.plugins import find

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]

M = TypeVar("M", bound=Model)
P = TypeVar("P", bound="Pass")


@contextmanager
def blaming(name: str) -> Generator[None]:
    """Have every failure inside name a pass or recipe."""
    try:
        yield
    except SplitcError as error:
        if not error.what.startswith(f"{name}: "):
            error.what = f"{name}: {error.what}"
        raise


@dataclass(frozen=True)
class Pass:
    """A rewrite of a model. A subclass is a frozen dataclass; its fields are its options.

    Its docstring is its specification. It defines `apply`, and where there is
    something to demand or promise, `requires` and `ensures`.
    """

    name: ClassVar[str]

    def requires(self, model: Model) -> None:
        """Raise a `SplitcError` where the pass cannot be applied."""

    def apply(self, model: M) -> M:
        """The rewritten model; the given one stays as it is."""
        raise PassError(f"pass '{self.name}' has no apply")

    def ensures(self, before: Model, after: Model) -> None:
        """Raise a `SplitcError` where the result breaks the pass's promise."""

    def calibrated(self: P, model: Model, batches: Sequence[Arrays] | None) -> P:
        """The pass with what it has to know of the values, measured; itself where that is nothing.

        Args:
            model: What it is going to be applied to.
            batches: Arrays by input name, each of the model's input shapes. None for the cut
                table: any stand-in does then, as long as shapes and costs are right.

        Raises:
            SplitcError: The values cannot be measured.
        """
        return self

    @final
    def __call__(self, model: M) -> M:
        """requires, apply, ensures; every failure names the pass."""
        with blaming(self.name):
            self.requires(model)
            after = self.apply(model)
            self.ensures(model, after)
        return after

    def options(self) -> dict[str, Any]:
        """Every option's value by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def __str__(self) -> str:
        return item_text(self.name, self)


def item_text(name: str, item: Any) -> str:
    """A dataclass as text that parses back to it: its name, and options that are no defaults."""
    changed = [
        f"{f.name}={json.dumps(getattr(item, f.name))}"
        for f in dataclasses.fields(item)
        if f.default is dataclasses.MISSING or getattr(item, f.name) != f.default
    ]
    return name + (f"({', '.join(changed)})" if changed else "")


@dataclass(frozen=True)
class Step:
    """What one pass of a pipeline did: its text and whether the model changed."""

    text: str
    changed: bool


@dataclass(frozen=True)
class Pipeline:
    """Passes one after another. Its text form parses back to itself.

    Args:
        passes: In the order they are applied.
    """

    passes: tuple[Pass, ...] = ()

    def __call__(self, model: M) -> M:
        """The model after every pass."""
        for one in self.passes:
            model = one(model)
        return model

    def trace(self, model: M) -> tuple[M, tuple[Step, ...]]:
        """The model after every pass, and which passes changed it.

        Whether a pass changed something is found by comparing, not by asking it.
        """
        steps: list[Step] = []
        for one in self.passes:
            after = one(model)
            steps.append(Step(str(one), after.fingerprint() != model.fingerprint()))
            model = after
        return model, tuple(steps)

    def __str__(self) -> str:
        return ", ".join(str(one) for one in self.passes)

    def __iter__(self) -> Iterator[Pass]:
        return iter(self.passes)

    @staticmethod
    def parse(text: str) -> Pipeline:
        """Read `group-blocks(rule="paper"), find-min-cut`.

        Raises:
            UsageError: An unknown pass or option, or malformed text.
        """
        return Pipeline(tuple(parse_items("passes", text)))


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


def make_pass(name: str, options: Mapping[str, Any]) -> Pass:
    """The pass of that name with these options.

    Raises:
        UsageError: No such pass, no such option, or a value of the wrong type.
    """
    return make_item("passes", name, options)


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
