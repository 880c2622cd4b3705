# SPDX-License-Identifier: Apache-2.0
"""Which of equal elements come first, where PyTorch promises nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from splitc.ir.graph import LayerGraph


def lower_places_first(graph: LayerGraph) -> AbstractContextManager[Any]:
    """While it is open, `topk` gives of equal elements those at lower places, in order.

    PyTorch leaves them as its partial sort has them, which differs by size and device, and
    which compiled code could not be held against.
    """
    return _Stable() if any(layer.op == "topk" for layer in graph.layers) else nullcontext()


class _Stable(TorchDispatchMode):
    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call an operator of PyTorch's, or a stable sort for `topk`."""
        if func is torch.ops.aten.topk.default and args[0].dim():
            return _first(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _first(
    x: torch.Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    values, places = torch.sort(x, dim=dim, descending=largest, stable=True)
    return values.narrow(dim, 0, k), places.narrow(dim, 0, k)
