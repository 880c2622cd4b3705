# SPDX-License-Identifier: Apache-2.0
"""Packs: how passes, cutters, backends and boards enter, ours and anyone's."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from splitc.errors import UsageError, nearest

GROUP = "splitc.plugins"


@dataclass(frozen=True)
class Plugin:
    """What one pack brings: names, and where the code behind them is.

    Objects are given as `module:attribute` and imported when first asked for, so
    that listing them costs nothing.

    Args:
        passes: Pass classes by name.
        cutters: Cutter classes by name.
        backends: Backend classes by name.
        checks: Functions by name that look at this machine and return
            `splitc.build.doctor.Check`s, for `splitc doctor`.
        recipes: Recipe classes by name, for `splitc finetune`.
        converters: Modules that register converters of ONNX operators (see
            `splitc.frontend.convert.converts`), by operator, `domain::Op` where it has one.
        kinds: Which kind of work the layers are that its passes insert, by lower-case operator:
            one of `splitc.ir.kinds.KINDS`; what is not named is elementwise.
        loaders: What loads parts, by the format that their manifests name: functions of a
            folder and its `PartManifest` that give a `Part`.
        policies: Policy classes by name: what picks each frame's route.
        estimators: Classes by name of what predicts layers' times on boards, as
            `splitc.cost.prices.Estimator` says; the first that answers for a board is asked.
        boards: Folders of board files.
    """

    passes: Mapping[str, str] = field(default_factory=dict[str, str])
    cutters: Mapping[str, str] = field(default_factory=dict[str, str])
    backends: Mapping[str, str] = field(default_factory=dict[str, str])
    checks: Mapping[str, str] = field(default_factory=dict[str, str])
    recipes: Mapping[str, str] = field(default_factory=dict[str, str])
    converters: Mapping[str, str] = field(default_factory=dict[str, str])
    kinds: Mapping[str, str] = field(default_factory=dict[str, str])
    loaders: Mapping[str, str] = field(default_factory=dict[str, str])
    policies: Mapping[str, str] = field(default_factory=dict[str, str])
    estimators: Mapping[str, str] = field(default_factory=dict[str, str])
    boards: tuple[Path, ...] = ()


KERNEL = Plugin(
    cutters={"enumerate": "splitc.search.enumerate:Enumerate"},
    backends={"onnx": "splitc.build.onnx_backend:OnnxBackend"},
    loaders={
        "native": "splitc.runtime.native:NativePart",
        "onnx": "splitc.runtime.onnx_part:OnnxPart",
    },
    policies={
        "adaptive": "splitc.policy.adaptive:Adaptive",
        "fixed": "splitc.policy.fixed:Fixed",
        "map": "splitc.policy.mapped:Mapped",
    },
)
"""What needs no pack."""


@dataclass(frozen=True)
class BrokenPack:
    """An installed pack that is left out.

    Args:
        name: Of its entry point.
        why: What is wrong with it.
    """

    name: str
    why: str

    def __str__(self) -> str:
        return f"pack '{self.name}' is left out: {self.why}"


FAILS_TO_IMPORT = (
    ImportError, AttributeError, SyntaxError, NameError, TypeError, ValueError, LookupError,
    OSError, RuntimeError,
)  # fmt: skip
"""What importing a stranger's module may raise."""

_TABLES = (
    "passes", "cutters", "backends", "checks", "recipes", "converters", "kinds", "loaders",
    "policies", "estimators",
)  # fmt: skip


def plugins() -> Plugin:
    """All installed packs as one, without those that are broken."""
    return _installed()[0]


def broken_packs() -> tuple[BrokenPack, ...]:
    """The packs that do not load, or bring a name that another brought before."""
    return _installed()[1]


def known_broken() -> tuple[BrokenPack, ...]:
    """Those of `broken_packs` where packs were asked for; looks for none itself."""
    return broken_packs() if _installed.cache_info().currsize else ()


def forget() -> None:
    """Look for packs anew when next asked."""
    _installed.cache_clear()


@functools.cache
def _installed() -> tuple[Plugin, tuple[BrokenPack, ...]]:
    whole, broken = KERNEL, list[BrokenPack]()
    for entry in sorted(entry_points(group=GROUP), key=_order):
        found = _loaded(entry)
        taken = "" if isinstance(found, BrokenPack) else _taken(whole, found)
        if isinstance(found, BrokenPack):
            broken.append(found)
        elif taken:
            broken.append(BrokenPack(entry.name, f"another pack brings the {taken} too"))
        else:
            whole = _together(whole, found)
    return whole, tuple(broken)


def _order(entry: EntryPoint) -> tuple[bool, str]:
    """Our own first: no stranger's pack takes a name from them."""
    return entry.dist is None or entry.dist.name != "splitc", entry.name


def _loaded(entry: EntryPoint) -> Plugin | BrokenPack:
    """What an entry point names."""
    try:
        pack: object = entry.load()
    except FAILS_TO_IMPORT as error:
        return BrokenPack(entry.name, f"it does not load: {type(error).__name__}: {error}")
    if not isinstance(pack, Plugin):
        return BrokenPack(entry.name, f"{entry.value} is no splitc Plugin")
    return pack


def _table(pack: Plugin, kind: str) -> Mapping[str, str]:
    return getattr(pack, kind)


def _taken(whole: Plugin, pack: Plugin) -> str:
    """The first name of a pack that there is already, with its kind; "" where there is none."""
    for kind in _TABLES:
        for name in _table(pack, kind):
            if name in _table(whole, kind):
                return f"{kind} '{name}'"
    return ""


def _together(whole: Plugin, pack: Plugin) -> Plugin:
    tables = {kind: {**_table(whole, kind), **_table(pack, kind)} for kind in _TABLES}
    return Plugin(**tables, boards=(*whole.boards, *pack.boards))


def find(kind: str, name: str) -> Any:
    """The object a pack registered: `kind` names a field of `Plugin`.

    Raises:
        UsageError: No pack brings that name; the hint lists the nearest.
    """
    table = _table(plugins(), kind)
    if name not in table:
        why = "; ".join(map(str, broken_packs()))
        what = f"there is no '{name}' among the {kind}"
        raise UsageError(what, why=why, hint=nearest(name, table))
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
