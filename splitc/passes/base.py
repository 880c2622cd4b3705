# SPDX-License-Identifier: Apache-2.0
"""Passes and pipelines: how a model is rewritten step by step."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, final

from splitc.errors import PassError, SplitcError
from splitc.ir.model import Model
from splitc.passes.items import item_text, make_item, parse_items

if TYPE_CHECKING:
    from splitc.arrays import Arrays

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


def make_pass(name: str, options: Mapping[str, Any]) -> Pass:
    """The pass of that name with these options.

    Raises:
        UsageError: No such pass, no such option, or a value of the wrong type.
    """
    return make_item("passes", name, options)
