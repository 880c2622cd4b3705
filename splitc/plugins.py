# SPDX-License-Identifier: Apache-2.0
"""Packs: how passes, cutters, backends and boards enter, ours and anyone's."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from splitc.errors import SplitcError, UsageError, nearest

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


@functools.cache
def plugins() -> Plugin:
    """All installed packs as one.

    Raises:
        SplitcError: Two packs bring the same name, or a pack does not load.
    """
    fields = (
        "passes", "cutters", "backends", "checks", "recipes", "converters", "kinds", "loaders",
        "policies",
    )  # fmt: skip
    tables: dict[str, dict[str, str]] = {each: {} for each in fields}
    boards: list[Path] = []
    for value, pack in _packs():
        for each, table in tables.items():
            names: Mapping[str, str] = getattr(pack, each)
            for name, where in names.items():
                if name in table:
                    raise SplitcError(f"two packs bring the {each} '{name}'", at=value)
                table[name] = where
        boards.extend(pack.boards)
    return Plugin(**tables, boards=tuple(boards))


def _packs() -> Iterator[tuple[str, Plugin]]:
    """The kernel's own and every installed pack, and what the entry point says."""
    yield "splitc", KERNEL
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        try:
            pack: object = entry.load()
        except (ImportError, AttributeError) as error:
            raise SplitcError(f"pack '{entry.name}' does not load", why=str(error)) from error
        if not isinstance(pack, Plugin):
            raise SplitcError(f"pack '{entry.name}'", why=f"{entry.value} is no splitc Plugin")
        yield entry.value, pack


def find(kind: str, name: str) -> Any:
    """The object a pack registered: `kind` names a field of `Plugin`.

    Raises:
        UsageError: No pack brings that name; the hint lists the nearest.
    """
    table: Mapping[str, str] = getattr(plugins(), kind)
    if name not in table:
        raise UsageError(f"there is no '{name}' among the {kind}", hint=nearest(name, table))
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
