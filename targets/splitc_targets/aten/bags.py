# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportPrivateUsage=false
"""Bags of embeddings: sums, means or the largest of rows of a table."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx

from splitc_targets.aten.promotion import Rewrite, aten

_SUM, _MEAN, _LARGEST = range(3)
_PACKETS = (aten.embedding_bag, aten._embedding_bag, aten._embedding_bag_forward_only)


def embedding_bag(
    weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False,
    mode: int = _SUM, sparse: bool = False, per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False, padding_idx: int = -1,
) -> Any:  # fmt: skip
    """The rows of a bag together; the results behind the first are noughts, which nobody reads."""
    bags, count = len(offsets) - include_last_offset, len(indices)
    rows = torch.index_select(weight, 0, indices)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    order = torch.arange(count, dtype=offsets.dtype)
    bag = (order.unsqueeze(1) >= offsets[:bags].unsqueeze(0)).to(torch.int64).sum(1) - 1
    counted = indices != padding_idx if padding_idx >= 0 else torch.ones(count, dtype=torch.bool)
    held = torch.zeros(bags, dtype=rows.dtype).scatter_add(0, bag, counted.to(rows.dtype))
    at = bag.unsqueeze(1).expand(rows.shape)
    least = -math.inf if mode == _LARGEST else 0.0
    rows = torch.where(counted.unsqueeze(1), rows, torch.full_like(rows, least))
    start = torch.full((bags, weight.shape[1]), least, dtype=rows.dtype)
    if mode == _LARGEST:
        made = start.scatter_reduce(0, at, rows, "amax")
        made = torch.where(held.unsqueeze(1) > 0, made, torch.zeros_like(made))
    else:
        made = start.scatter_add(0, at, rows)
        if mode == _MEAN:
            made = made / held.clamp(min=1).unsqueeze(1)
    nothing = torch.zeros(0, dtype=indices.dtype)
    return made, nothing, nothing.clone(), nothing.clone()


def kept_whole(nodes: Iterable[fx.Node]) -> set[Any]:
    """The operators that are not to be taken apart: a result behind the first is read."""
    for node in nodes:
        packet: Any = getattr(node.target, "overloadpacket", None)
        if packet in _PACKETS and any(
            user.users and (user.target is not operator.getitem or user.args[1])
            for user in node.users
        ):
            return set(rewrites())
    return set()


def rewrites() -> dict[Any, Rewrite]:
    """The rewrites by operator."""
    return {
        aten._embedding_bag.default: embedding_bag,
        aten._embedding_bag_forward_only.default: embedding_bag,
    }
