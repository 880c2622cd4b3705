# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""How a rewrite of Relax expressions goes over a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax


def rewritten(module: Any, rewrite: Callable[[Any], Any]) -> Any:
    """A module whose Relax functions a mutator, made for the module, has gone over."""
    made = rewrite(module)
    for name, function in module.functions_items():
        if isinstance(function, relax.Function):
            made.builder_.update_func(name, made.visit_expr(function))
    return made.builder_.get()
