# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""A traced network for batches of any size: tracing wrote the example's batch as a number.

A network is traced with the extents of its examples, so that `x.view(n, -1)` became
`x.view(1, 3072)`. Here such extents are found again; whether all were found is checked
by running it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from splitc.errors import BadModelError
from splitc.frontend.torch.form import function_name
from splitc.frontend.torch.model import TorchModel
from splitc.frontend.torch.trace import FAILURES, VALUE, as_at_inference, graph_module
from splitc.frontend.torch.values import arguments, leaves

_RESHAPES = frozenset(("view", "reshape", "_unsafe_view"))
_EXPANDS = frozenset(("expand", "broadcast_to"))
_REPEATS = frozenset(("repeat", "tile"))
_FILLS = frozenset(("new_zeros", "new_ones", "new_empty", "new_full"))
_JOINS = frozenset(("cat", "concat", "concatenate"))
_TOLERANCE = {torch.float16: 1e-2, torch.bfloat16: 5e-2, torch.float64: 1e-8}


def any_batch(model: TorchModel) -> fx.GraphModule:
    """The network of a model for any batch size: inputs and results [N, ...].

    Its submodules, parameters and buffers are the model's own: training it trains the
    model. It is checked in eval mode that a batch of three gives what its samples give
    one by one.

    Args:
        model: A model whose inputs all have the batch as their first extent.

    Raises:
        BadModelError: The network computes with the batch of its example inputs.
    """
    made = _copy(model.module)
    nodes = [node for node in made.graph.nodes if node.op != "output"]
    entries = [node for node in nodes if node.op == "placeholder"]
    if not all(node.meta[VALUE].dim() for node in entries) or not entries:
        raise BadModelError("the module takes no batches", why="an input has no extents")
    batch = int(entries[0].meta[VALUE].shape[0])
    with made.graph.inserting_after(entries[-1]):
        size = made.graph.call_method("size", (entries[0], 0))
    varying: set[fx.Node] = set(entries)
    for node in nodes:
        if any(read in varying for read in arguments(node)):
            varying.add(node)
        if node.op in ("call_function", "call_method"):
            _free(node, batch, size, varying)
    if not size.users:
        made.graph.erase_node(size)
    made.graph.lint()
    made.recompile()
    _verify(model.module, made, [node.meta[VALUE] for node in entries])
    return made


def _copy(module: fx.GraphModule) -> fx.GraphModule:
    graph = fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    return graph_module(module, graph, type(module).__name__)


def _free(node: fx.Node, batch: int, size: fx.Node, varying: set[fx.Node]) -> None:
    """Let a node take its leading extent from what it gets, where it was the batch."""
    name, value = function_name(node), node.meta[VALUE]
    if not isinstance(value, torch.Tensor) or not value.dim():
        return
    if name in _JOINS:
        _spread(node, batch, size, varying)
        return
    given = _extents(node)
    if given is None or not node.args:
        return
    source: Any = node.args[0]
    if name in _RESHAPES:
        _set(node, [-1, *map(int, value.shape[1:])])
    elif given[0] != batch or value.shape[0] != batch:
        return
    elif name in _EXPANDS or name in _FILLS or (name in _REPEATS and source not in varying):
        _set(node, [size, *given[1:]])


def _extents(node: fx.Node) -> list[int] | None:
    """The extents that a node is given, all of them numbers; None where it has none."""
    rest: Sequence[Any] = node.args[1:]
    for key in ("size", "shape", "sizes", "repeats", "dims"):
        if key in node.kwargs:
            rest = [node.kwargs[key]]
    if rest and isinstance(rest[0], list | tuple):
        rest = list(rest[0])
    elif function_name(node) == "new_full":
        return None
    numbers = [each for each in rest if isinstance(each, int) and not isinstance(each, bool)]
    return numbers if numbers and len(numbers) == len(rest) else None


def _set(node: fx.Node, extents: list[Any]) -> None:
    source, *rest = node.args
    more = rest[1:] if rest and isinstance(rest[0], list | tuple) else ()
    named = ("size", "shape", "sizes", "repeats", "dims")
    node.kwargs = {key: value for key, value in node.kwargs.items() if key not in named}
    node.args = (source, extents, *more)


def _spread(node: fx.Node, batch: int, size: fx.Node, varying: set[fx.Node]) -> None:
    """Repeat stored tensors of one sample that are joined to every sample."""
    joined: Any = node.args[0] if node.args else node.kwargs.get("tensors")
    along: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    if batch != 1 or along == 0 or not isinstance(joined, list | tuple):
        return
    for part in joined:
        if part in varying or not part.meta[VALUE].dim() or part.meta[VALUE].shape[0] != 1:
            continue
        with node.graph.inserting_before(node):
            rest = [-1] * (part.meta[VALUE].dim() - 1)
            copies = node.graph.call_method("expand", (part, size, *rest))
        copies.meta[VALUE] = part.meta[VALUE]
        node.replace_input_with(part, copies)


def _verify(given: fx.GraphModule, made: fx.GraphModule, values: Sequence[torch.Tensor]) -> None:
    """Raise where a batch is not computed like its samples, or the example differently."""
    tensors = [*given.parameters(), *given.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    source = torch.Generator().manual_seed(0)
    example = [_random(v, int(v.shape[0]), source).to(device) for v in values]
    three = [_random(v, 3, source).to(device) for v in values]
    try:
        with as_at_inference(made):
            before, after = leaves(given(*example)), leaves(made(*example))
            whole = leaves(made(*three))
            singles = [leaves(made(*(x[i : i + 1] for x in three))) for i in range(3)]
    except FAILURES as error:
        raise _fixed(values, " ".join(str(error).split())[:200]) from error
    for key, batch in whole.items():
        parts = [single[key] for single in singles]
        rows = all(part.dim() and part.shape[0] * 3 == batch.shape[0] for part in parts)
        if not rows or not _same(batch, torch.cat(parts)) or not _same(before[key], after[key]):
            raise _fixed(values, "a batch of 3 gives other results than its samples do")


def _random(value: torch.Tensor, batch: int, source: torch.Generator) -> torch.Tensor:
    """Data in the form of an input; whole numbers stay 0 or 1, which index anything."""
    shape = (batch, *value.shape[1:])
    if value.dtype.is_floating_point:
        return torch.randn(shape, generator=source).to(value.dtype)
    return torch.randint(0, 2, shape, generator=source).to(value.dtype)


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape:
        return False
    if not one.dtype.is_floating_point:
        return torch.equal(one, other)
    wide = torch.nan_to_num(one.double()).abs().max().item() if one.numel() else 0.0
    allowed = _TOLERANCE.get(one.dtype, 1e-4) * max(wide, 1e-6)
    return torch.allclose(one.double(), other.double(), rtol=0, atol=allowed, equal_nan=True)


def _fixed(values: Sequence[torch.Tensor], why: str) -> BadModelError:
    count = int(values[0].shape[0])
    return BadModelError(
        f"the module computes with a fixed batch of {count}", why=why,
        hint="load it with example inputs of the training batch, or let forward take the "
        "batch from its input: x.flatten(1), x.view(x.shape[0], -1)",
    )  # fmt: skip
