# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Which layer of the network each binding of a lowered module computes a part of.

TVM's front ends drop names. What they give for a node is kept here by identity: an expression is
bound as it is, and rewrites of Relax keep variables. A binding that they put in between has no
name; who reads it says whose it is (splitc_targets/graph/origins.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import tvm
from tvm import relax

_OPERATORS, _BINDINGS = "splitc.layers", "splitc.bindings"


class Named:
    """Expressions of a front end's, and the layers that they are the results of."""

    def __init__(self) -> None:
        self._layers: dict[Any, str] = {}

    def add(self, made: Any, layer: str) -> None:
        """Say that a layer gives an expression, or each of several."""
        if isinstance(made, tvm.ir.Tuple):
            made = made.fields
        if isinstance(made, relax.Var | tvm.ir.Call | relax.If):
            self._layers.setdefault(made, layer)
        elif isinstance(made, tvm.ir.TupleGetItem):
            self.add(made.tuple_value, layer)
        elif not isinstance(made, str | bytes) and hasattr(made, "__iter__"):
            for each in made:
                self.add(each, layer)

    def variables(self, module: Any) -> dict[Any, str]:
        """The layers of the variables that a module binds, where they are known."""
        found: dict[Any, str] = {}
        for binding in _bindings(module):
            value = getattr(binding, "value", None)
            layer = self._layers.get(value) or self._layers.get(binding.var)
            if layer is None:
                continue
            found[binding.var] = layer
            while isinstance(value, tvm.ir.TupleGetItem):  # computed where the whole tuple is
                value = value.tuple_value
                found.setdefault(value, layer)
        return found


def with_bindings(module: Any, layers: Mapping[Any, str]) -> Any:
    """A module that knows the layer of each of its bindings, of the variables that have one."""
    names = [layers.get(binding.var, "") for binding in _bindings(module)]
    return module.with_attr(_BINDINGS, json.dumps(names))


def of_bindings(module: Any) -> list[str]:
    """The layer of each binding of `main`, in order; "" where it is not known."""
    return json.loads(str((module.attrs or {}).get(_BINDINGS, "[]")))


def with_layers(module: Any, layers: Mapping[str, str]) -> Any:
    """A lowered module that knows the operators of the layers it was made from, by name."""
    return module.with_attr(_OPERATORS, json.dumps(dict(layers)))


def layers_of(module: Any) -> dict[str, str]:
    """The operators of the layers that a module was lowered from, by name, in their order."""
    return json.loads(str((module.attrs or {}).get(_OPERATORS, "{}")))


def _bindings(module: Any) -> list[Any]:
    body = module["main"].body
    blocks = body.blocks if isinstance(body, relax.SeqExpr) else ()
    return [binding for block in blocks for binding in block.bindings]
