# SPDX-License-Identifier: Apache-2.0
"""What people call layers: their names, how those end, and the modules that hold them."""

from __future__ import annotations

import re
from collections.abc import Collection

from splitc.errors import UsageError, nearest

GAP = "…"
"""Stands in a shown name for what was left out."""

_SEPARATORS = "./:"
_LISTED = 4


def find_name(text: str, names: Collection[str]) -> str:
    """The layer that is meant.

    A layer's own name comes first. Then a module's, which stands for its last layer: `layer2`
    for `layer2.1.relu`, `layer2.0` for `/layer2/layer2.0/Relu`. Then the end of one layer's
    name, whole pieces of it: `body.1/Conv` for `/c3/c3.0/body/body.1/Conv`, with or without a
    `…` before it.

    Args:
        text: What was typed.
        names: Every layer's name, in topological order.

    Raises:
        UsageError: No layer is called so, or several are; the hint lists some.
    """
    if text in names:
        return text
    end = text.removeprefix(GAP).lstrip(_SEPARATORS)
    inside = _by_module(end, names) if end else {}
    found = inside.get("") or (next(iter(inside.values())) if len(inside) == 1 else None)
    if found is not None:
        return found[-1]
    ending = [name for name in names if end and _ends(name, end)]
    if len(ending) == 1 and not inside:
        return ending[0]
    several = [*(held[-1] for held in inside.values()), *ending]
    if several:
        shown = ", ".join(f"'{name}'" for name in several[:_LISTED])
        more = f" and {len(several) - _LISTED} more" if len(several) > _LISTED else ""
        why = f"{len(several)} layers or modules are called so"
        raise UsageError(f"'{text}' is no layer's whole name", why=why, hint=f"{shown}{more}")
    raise UsageError(f"there is no layer '{text}'", hint=nearest(text, names))


def layers_called(text: str, names: Collection[str]) -> tuple[str, ...]:
    """The layer that `find_name` means; where that is the last of a module, all of the module.

    Raises:
        UsageError: No layer is called so, or several are.
    """
    last = find_name(text, names)
    end = text.removeprefix(GAP).lstrip(_SEPARATORS)
    modules = _by_module(end, names) if end and text not in names else {}
    return next((tuple(held) for held in modules.values() if held[-1] == last), (last,))


def unique_endings(name: str, names: Collection[str]) -> tuple[str, ...]:
    """What `find_name` takes for a layer, the whole name first, then ever shorter ends."""
    pieces = [at.end() for at in re.finditer(rf"[{_SEPARATORS}]+", name)]
    ends = [GAP + name[at:] for at in pieces if 0 < at < len(name)]
    found = [name]
    for end in ends:
        try:
            same = find_name(end, names) == name
        except UsageError:
            same = False
        if not same:
            break
        found.append(end)
    return tuple(found)


def first_piece(name: str) -> str:
    """The outermost module that holds a layer; the layer itself where none does."""
    return re.split(rf"[{_SEPARATORS}]+", name.strip(_SEPARATORS), maxsplit=1)[0]


def _by_module(text: str, names: Collection[str]) -> dict[str, list[str]]:
    """The layers of every module called so, by what stands before its name."""
    module = re.compile(rf"(?:^|[{_SEPARATORS}]){re.escape(text)}[{_SEPARATORS}]")
    found: dict[str, list[str]] = {}
    for name in names:
        at = module.search(name)
        if at is not None:
            found.setdefault(name[: at.start()].strip(_SEPARATORS), []).append(name)
    return found


def _ends(name: str, end: str) -> bool:
    before = name.removesuffix(end)
    return before != name and (not before or before[-1] in _SEPARATORS)
