# SPDX-License-Identifier: Apache-2.0
"""Names that a package offers and imports when they are first used, so that it is quick."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(package: str, where: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`.

    Args:
        package: Its name.
        where: The module within it that has each name.
    """

    def get(name: str) -> Any:
        if name in where:
            return getattr(importlib.import_module(f"{package}.{where[name]}"), name)
        raise AttributeError(f"module '{package}' has no attribute '{name}'")

    return get


def listed_names(package: str) -> Callable[[], list[str]]:
    """A package's `__dir__`: what it offers, and what any module has; for completion and `help`.

    Args:
        package: Its name.
    """

    def names() -> list[str]:
        module = vars(sys.modules[package])
        dunders = (name for name in module if name.startswith("__"))
        return sorted({*module["__all__"], *dunders})

    return names
