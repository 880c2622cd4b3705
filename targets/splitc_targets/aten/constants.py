# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""What a program computes from no input, computed by PyTorch: masks, positions, noughts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_arg

from splitc_targets.aten.promotion import aten

VALUE = "splitc_constant"
"""Key of a constant's tensor in its node's `meta`."""

_LIKE = (aten.full_like.default, aten.zeros_like.default, aten.ones_like.default)
_FILLS = (*_LIKE, aten.full.default)
"""Operators of one value throughout; of a tensor they only take the shape."""

_SMALL = 1024
_LARGEST_BYTES = 2**26


def constant(number: int) -> Tensor:
    """Stands for a tensor in a graph: the converter takes it out of the node's `meta`."""
    raise NotImplementedError(number)


def fold(graph: fx.Graph) -> None:
    """Replace by constants what depends on no input's values; of one throughout, by an expansion.

    A tensor without elements has no values, whatever it is made of.
    """
    values: dict[fx.Node, Any] = {}
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    for node in graph.nodes:
        known: Any = node.meta.get("val")
        if node in inputs or node.op == "call_function":
            if isinstance(known, Tensor) and not known.numel():
                values[node] = torch.zeros(known.shape, dtype=known.dtype)
            elif node not in inputs and _folds(node, values):
                values[node] = _computed(node, values)
    for node, value in values.items():
        readers = [user for user in node.users if user not in values]
        if readers and isinstance(value, Tensor):
            first = inputs[-1].next if node in inputs else node
            with graph.inserting_before(first):
                made = _write(graph, value, len(values))
            made.meta |= {key: node.meta[key] for key in node.meta if key not in made.meta}
            node.replace_all_uses_with(made)
    for node in reversed(list(values)):
        if not node.users and node not in inputs:
            graph.erase_node(node)


def _folds(node: fx.Node, values: dict[fx.Node, Any]) -> bool:
    target: Any = node.target
    tags: Any = getattr(target, "tags", ())
    if torch.Tag.nondeterministic_seeded in tags:
        return False
    if target in _FILLS:
        return all(each in values for each in node.all_input_nodes if target not in _LIKE)
    known: Any = node.meta.get("val")
    if isinstance(known, Tensor) and known.numel() * known.element_size() > _LARGEST_BYTES:
        return False
    return all(each in values for each in node.all_input_nodes)


def _computed(node: fx.Node, values: dict[fx.Node, Any]) -> Any:
    target: Any = node.target
    if target in _FILLS:
        known: Any = node.meta["val"]
        fills = {aten.zeros_like.default: 0, aten.ones_like.default: 1}
        value: Any = fills[target] if target in fills else node.args[1]
        return torch.full((), value, dtype=known.dtype).expand(known.shape)
    args: Any
    kwargs: Any
    args, kwargs = map_arg((node.args, node.kwargs), lambda each: values[each])
    return target(*args, **kwargs)


def _write(graph: fx.Graph, value: Tensor, number: int) -> fx.Node:
    first = value[(0,) * value.dim()] if value.numel() else value
    uniform = value.numel() > _SMALL and (not any(value.stride()) or bool((value == first).all()))
    stored = first.clone() if uniform else value.contiguous()
    made = graph.call_function(constant, (number,))
    made.meta |= {VALUE: stored, "val": stored}
    if not uniform:
        return made
    spread = graph.call_function(aten.expand.default, (made, list(value.shape)))
    spread.meta["val"] = value
    return spread
