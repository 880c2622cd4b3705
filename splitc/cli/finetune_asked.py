# SPDX-License-Identifier: Apache-2.0
"""What was asked of a run of `splitc finetune`: kept in its checkpoint, for `--resume`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from splitc.errors import DataError, UsageError
from splitc.finetune.callbacks import Callback, EpochRecord
from splitc.finetune.checkpoint import write
from splitc.finetune.recipes import parse_recipe

if TYPE_CHECKING:
    from splitc.finetune.recipes import Recipe

FILE = "options.json"
_MOST_BYTES = 2**20
_MAY_CHANGE = ("data", "device", "max_bytes")
"""What a run may go on with another of: the batches may lie elsewhere now."""


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of a run, by the names of its flags; `recipe` has the cut in it."""

    recipe: str
    data: str
    epochs: int | None
    loss: str
    metric: str
    seed: int
    device: str
    precision: str
    input: tuple[str, ...]
    simplify: bool
    max_bytes: str
    schema: int = 1

    def gone_on(self, kept: Asked, given: Collection[str], folder: Path) -> Asked:
        """The options of a run that goes on: as they were, but for what may change.

        Args:
            kept: The options that it began with.
            given: Names of the options that were typed now.
            folder: Its checkpoint, for errors.

        Raises:
            UsageError: Others were typed; names each with both values.
        """
        typed = {name for name in (*_NAMES, "cut") if name in given}
        changes = [
            f"{name.replace('_', '-')} {_word(getattr(self, name))}, was "
            f"{_word(getattr(kept, name))}"
            for name in _NAMES
            if name in typed - {"recipe", *_MAY_CHANGE}
            and getattr(self, name) != getattr(kept, name)
        ]
        if typed & {"recipe", "cut"}:
            changes += _recipe_changes(self.recipe, kept.recipe, cut="cut" in typed)
        if changes:
            hint = "leave options out: the run has them; or delete the folder to begin anew"
            what = f"the checkpoint is of another run: {'; '.join(changes)}"
            raise UsageError(what, at=str(folder), hint=hint)
        new = {name: getattr(self, name) for name in _MAY_CHANGE if name in typed}
        return msgspec.structs.replace(kept, **new)


_NAMES = tuple(name for name in Asked.__struct_fields__ if name != "schema")


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"  # pyright: ignore[reportUnknownArgumentType]
    return "none" if value in (None, "") else str(value)


def _recipe_changes(new: str, old: str, *, cut: bool) -> Iterator[str]:
    """What differs of two recipes, option by option."""
    if not new:
        yield f"recipe none, was {old}"
        return
    asked, was = parse_recipe(new), parse_recipe(old)
    if asked.name != was.name or not is_dataclass(asked):
        yield f"recipe {asked.name}, was {was.name}"
        return
    if not cut and getattr(asked, "cut", None) == "":
        asked: Recipe = replace(asked, cut=getattr(was, "cut", ""))  # pyright: ignore
    for one in fields(asked):  # pyright: ignore[reportArgumentType]
        before, after = getattr(was, one.name), getattr(asked, one.name)
        if before != after:
            yield f"{one.name} {_word(after)}, was {_word(before)}"


class KeepAsked(Callback):
    """Writes a run's options into its checkpoint, as soon as there is one."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def on_checkpoint(self, folder: Path, record: EpochRecord) -> None:
        """Once."""
        if not (folder / FILE).exists():
            write(folder / FILE, msgspec.json.format(msgspec.json.encode(self._asked), indent=1))


def read_asked(folder: Path) -> Asked | None:
    """The options of the run in a checkpoint; None where there are none.

    Raises:
        DataError: They are damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            asked = msgspec.json.decode(file.read(_MOST_BYTES), type=Asked)
        if asked.schema != 1:
            raise ValueError(f"schema {asked.schema} is not 1")
    except (OSError, ValueError) as error:
        what, hint = "the checkpoint is damaged", "delete the folder to begin anew"
        raise DataError(what, at=str(path), why=str(error), hint=hint) from error
    return asked
