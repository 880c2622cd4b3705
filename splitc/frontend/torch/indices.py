# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Which inputs of a PyTorch network are indices or divisors, and how many an index chooses from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from splitc.frontend.torch.form import function_name
from splitc.frontend.torch.ops import op_of
from splitc.frontend.torch.trace import VALUE
from splitc.frontend.torch.values import arguments

_MOVING = frozenset((
    "cast", "concat", "expand", "flatten", "contiguous", "clone", "reshape", "slice", "split",
    "squeeze", "tile", "transpose", "unsqueeze",
))  # fmt: skip
"""Operators whose result holds elements of their operands, none computed."""
_INDICES = {"embedding": 1, "index_select": 2, "gather": 2, "take": 1, "one_hot": 0, "index": 1}
"""Where functions take indices."""
_DIVIDING = frozenset(("div", "divide", "floor_divide", "floordiv", "fmod", "mod", "remainder"))


def index_extents(module: fx.GraphModule, names: Sequence[str]) -> dict[str, int]:
    """The extent of the smallest table that an input's elements are places in.

    Args:
        module: A network in normal form.
        names: Its inputs in order.

    Returns:
        Extents by input name; inputs that are no indices are left out.
    """
    found: dict[str, int] = {}
    for node, carried in _readers(module, names):
        chosen, extent = _choice(node, module)
        for name in carried.get(chosen, ()) if extent else ():
            found[name] = min(found.get(name, extent), extent)
    return found


def divisors(module: fx.GraphModule, names: Sequence[str]) -> frozenset[str]:
    """The inputs that divide integers into integers: 0 has no meaning there."""
    found = set[str]()
    for node, carried in _readers(module, names):
        if node.op == "call_module" or function_name(node).rstrip("_") not in _DIVIDING:
            continue
        divisor = node.args[1] if len(node.args) > 1 else node.kwargs.get("other")
        if isinstance(divisor, fx.Node) and _is_whole(divisor):
            found |= carried.get(divisor, set())
    return frozenset(found)


def _readers(
    module: fx.GraphModule, names: Sequence[str]
) -> Iterator[tuple[fx.Node, Mapping[fx.Node, set[str]]]]:
    """The nodes that read an input's elements, and which inputs' each node holds by then."""
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    carries = {node: {name} for node, name in zip(inputs, names, strict=False)}
    for node in module.graph.nodes:
        read = set[str]().union(*(carries.get(each, ()) for each in arguments(node)))
        if not read or node.op not in ("call_function", "call_method", "call_module"):
            continue
        if node.op != "call_module" and op_of(function_name(node), (), ()) in _MOVING:
            carries[node] = read
        yield node, carries


def _choice(node: fx.Node, module: nn.Module) -> tuple[Any, int]:
    """The indices that a node takes, and how many places they choose from; 0 where none."""
    if node.op == "call_module":
        called = module.get_submodule(str(node.target))
        if isinstance(called, nn.Embedding | nn.EmbeddingBag) and node.args:
            return node.args[0], called.num_embeddings
        return None, 0
    name = function_name(node)
    place = _INDICES.get(name, 1 if name == "getitem" else -1)
    if not 0 <= place < len(node.args):
        return None, 0
    chosen: Any = node.args[place]
    held: Any = node.args[0]
    if name == "embedding" and _is_whole(held):  # torch.nn.functional has them the other way round
        chosen, held = held, chosen
    if name == "one_hot":
        classes = node.args[1] if len(node.args) > 1 else node.kwargs.get("num_classes", -1)
        return chosen, max(0, classes) if isinstance(classes, int) else 0
    if isinstance(chosen, list | tuple) and len(chosen) == 1:
        chosen = chosen[0]
    table = held.meta.get(VALUE) if isinstance(held, fx.Node) else None
    if not isinstance(chosen, fx.Node) or not isinstance(table, torch.Tensor):
        return None, 0
    if name == "take":
        return chosen, table.numel()
    axis = node.args[1] if name in ("index_select", "gather") else 0
    return chosen, table.shape[axis] if isinstance(axis, int) and table.ndim else 0


def _is_whole(node: Any) -> bool:
    """Whether a node gives integers."""
    value = node.meta.get(VALUE) if isinstance(node, fx.Node) else None
    return isinstance(value, torch.Tensor) and not value.dtype.is_floating_point
