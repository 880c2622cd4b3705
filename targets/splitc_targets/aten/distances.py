# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportPrivateUsage=false
"""Distances between rows, as norms of their differences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from splitc_targets.aten.promotion import Rewrite, aten


def between(left: Tensor, right: Tensor, p: float, compute_mode: int | None = None) -> Any:
    """Of each row of one matrix to each of the other, over a batch.

    Not by products of the rows, which PyTorch may take: near rows lose their difference there.
    """
    return _norm(left.unsqueeze(-2) - right.unsqueeze(-3), p)


def within(x: Tensor, p: float = 2.0) -> Any:
    """Of each two rows of a matrix, the first with those behind it first."""
    first, second = torch.triu_indices(len(x), len(x), 1)
    return _norm(torch.index_select(x, 0, first) - torch.index_select(x, 0, second), p)


def _norm(apart: Tensor, p: float) -> Tensor:
    """The p-norm along the last dimension; of p = 0 how many differ."""
    if not apart.shape[-1]:
        return apart.sum(-1)
    return torch.linalg.vector_norm(apart, p, -1)


def rewrites() -> dict[Any, Rewrite]:
    """The rewrites by operator."""
    return {aten._cdist_forward.default: between, aten._pdist_forward.default: within}
