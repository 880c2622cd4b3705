# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Recurrent layers that stay calls, step by step only where no kernel of ours computes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import fx

from splitc_targets.aten.promotion import aten

_CALLS = (aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input)
_TYPES = (torch.float16, torch.float32)


def kept_whole(nodes: Iterable[fx.Node]) -> set[Any]:
    """The operators of recurrent layers that are not to be taken apart: all calls of which fit."""
    calls = [node for node in nodes if node.target in _CALLS]
    return set(_CALLS) - {node.target for node in calls if not _fits(node)}


def _fits(node: fx.Node) -> bool:
    """Whether it computes in float32 or float16, and projects no state."""
    args: Any = node.args
    x, states = args[0], args[1]
    tensors = [x, *(states if isinstance(states, list | tuple) else [states]), *args[2]]
    if any(each.meta["val"].dtype not in _TYPES for each in tensors):
        return False
    if node.target is not aten.lstm.input:
        return True
    hidden, cell = (each.meta["val"].shape[-1] for each in states)
    return bool(hidden == cell)
