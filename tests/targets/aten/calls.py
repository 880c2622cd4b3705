# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Calls of PyTorch's through the very path of a bundle, in this process, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import splitc
from splitc.build.backend import Unsupported
from splitc.cost.board import load_board
from splitc_targets.backend import TvmBackend

Call = Callable[..., Any]
Calls = Mapping[str, tuple[Call, Sequence[Tensor]]]
"""What is called, by a name, and on which tensors: each becomes an input of the network."""


class Together(nn.Module):
    """Several calls as one network, which is compiled once."""

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self.calls = {name: (call, len(tensors)) for name, (call, tensors) in calls.items()}
        self.modules_called = nn.ModuleList(
            call for call, _ in calls.values() if isinstance(call, nn.Module)
        )

    def forward(self, *tensors: Tensor) -> list[Any]:
        found: list[Any] = []
        place = 0
        for call, count in self.calls.values():
            found.append(call(*tensors[place : place + count]))
            place += count
        return found


def compiled(module: nn.Module, tensors: Sequence[Tensor]) -> list[np.ndarray[Any, Any]]:
    """What the code that is compiled for this machine gives."""
    model = splitc.load(module.eval(), list(tensors))
    backend = TvmBackend()
    missing = backend.unsupported(model)
    assert not missing, missing
    code = backend.compile(backend.lower(model), load_board("host"))
    return code.here()(*(each.numpy() for each in tensors))


def assert_right(calls: Calls, tolerance: float = 2e-5) -> None:
    """Hold every result of every call against PyTorch's: shape, element type, values."""
    module = Together(calls).eval()
    tensors = [each for _, given in calls.values() for each in given]
    got = compiled(module, tensors)
    place = 0
    for name, (call, given) in calls.items():
        with torch.no_grad():
            right = [each.numpy() for each in tree_leaves(call(*(t.clone() for t in given)))]
        for each in right:
            made, place = got[place], place + 1
            assert (made.shape, made.dtype) == (each.shape, each.dtype), name
            size = float(np.abs(each[np.isfinite(each)]).max(initial=1.0))
            np.testing.assert_allclose(made, each, tolerance, tolerance * size, err_msg=name)
    assert place == len(got)


def refused(call: Call, *tensors: Tensor) -> list[Unsupported]:
    """What is refused of a call."""
    module = Together({"call": (call, tensors)}).eval()
    return TvmBackend().unsupported(splitc.load(module, list(tensors)))
