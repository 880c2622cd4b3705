# SPDX-License-Identifier: Apache-2.0
"""Groups of options: a verb takes a dataclass, the command line each of its fields."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints


def spread(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb whose parameters that are dataclasses are an option for each field.

    The fields are annotated as Typer has it; the verb gets the dataclass made of them.
    """
    hints = get_type_hints(verb, include_extras=True)
    groups: dict[str, type[Any]] = {}
    taken: list[inspect.Parameter] = []
    for each in inspect.signature(verb).parameters.values():
        kind = hints[each.name]
        if not (isinstance(kind, type) and is_dataclass(kind)):
            taken.append(each.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[each.name] = kind
        inner = get_type_hints(kind, include_extras=True)
        taken += [
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, annotation=inner[field.name],
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
            )
            for field in fields(kind)
        ]  # fmt: skip

    @functools.wraps(verb)
    def called(**given: Any) -> None:
        made = {
            name: kind(**{field.name: given.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        verb(**given, **made)

    shown: Any = called
    shown.__signature__ = inspect.Signature(taken)
    shown.__annotations__ = {each.name: each.annotation for each in taken}
    return called
