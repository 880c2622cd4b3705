# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""What fx nodes give and read: tensors inside tuples, operands, settings by position."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import fx
from torch.fx.node import map_arg

from splitc.frontend.torch.form import function_name
from splitc.frontend.torch.trace import VALUE
from splitc.ir.graph import Tensor

Keys = tuple[Any, ...]
"""What leads to a tensor inside tuples and dicts; () for a tensor itself."""


def leaves(value: Any, keys: Keys = ()) -> dict[Keys, torch.Tensor]:
    """The tensors inside a value, by the keys that lead to them."""
    if isinstance(value, torch.Tensor):
        return {keys: value}
    found: dict[Keys, torch.Tensor] = {}
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    for key, each in items:
        found |= leaves(each, (*keys, key))
    return found


def leaves_read(node: fx.Node) -> dict[Keys, torch.Tensor]:
    """The tensors a node gives; of a tuple's those that are read, or the first."""
    found = leaves(node.meta[VALUE])
    if () in found:
        return found
    wanted: list[Any] = []
    for user in node.users:
        if function_name(user) != "getitem" or isinstance(user.args[1], slice):
            return found
        wanted.append(user.args[1])
    kept = {keys: tensor for keys, tensor in found.items() if keys[0] in wanted}
    return kept or dict(list(found.items())[:1])


def arguments(node: fx.Node) -> list[fx.Node]:
    """The nodes among a node's arguments, those inside lists too, repeats kept."""
    found: list[fx.Node] = []
    map_arg((node.args, node.kwargs), found.append)
    return found


_POSITIONS: dict[str, tuple[int, tuple[str, ...]]] = {
    "conv": (3, ("stride", "padding", "dilation", "groups")),
    "conv_transpose": (3, ("stride", "padding", "output_padding", "groups", "dilation")),
    "convolution": (3, ("stride", "padding", "dilation", "transposed", "output_padding", "groups")),
    "max_pool": (1, ("kernel_size",)),
    "max_pool2d_with_indices": (1, ("kernel_size",)),
    "avg_pool": (1, ("kernel_size",)),
}
"""Settings that functions take by position, and where the first of them stands."""


def positional(name: str, node: fx.Node) -> dict[str, Any]:
    """Settings of a function that it is given by position."""
    bare = name[:-2] if name.endswith(("1d", "2d", "3d")) else name
    first, names = _POSITIONS.get(bare, (0, ()))
    return dict(zip(names, node.args[first:], strict=False))


def tensor_of(name: str, value: torch.Tensor) -> Tensor:
    """A layer's tensor of a value's shape and element type."""
    dtype = str(value.dtype).removeprefix("torch.")
    return Tensor(name, tuple(int(n) for n in value.shape), dtype)


_SHADOWED = frozenset(("self", "torch", "operator", "device", "inf", "nan", "NoneType"))
"""Names that the code which fx writes has a use for."""


def python_name(name: str, taken: Collection[str] = ()) -> str:
    """A name that Python takes for an argument or attribute, made of any name.

    Args:
        name: Say, a tensor's in ONNX: `/layer1/conv`, `245`.
        taken: Names that it must not be.
    """
    base = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "value"
    if base[0].isdigit() or keyword.iskeyword(base) or base in _SHADOWED:
        base = f"v_{base}"
    found, count = base, 1
    while found in taken:
        count += 1
        found = f"{base}_{count}"
    return found
