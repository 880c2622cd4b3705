# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""What the tests of the coded baselines share: a small network and examples for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import splitc
from splitc.ir.cut import Cut

Array = np.ndarray[Any, np.dtype[Any]]

POINT = "1"
"""The layer that is cut behind: a relu."""


def maps(channels: int = 5) -> splitc.TorchModel:
    """Two convolutions on 3x9x12, cut behind the relu between them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, channels, 3), nn.ReLU(), nn.Conv2d(channels, 2, 3))
    return splitc.load(net, torch.zeros(1, 3, 9, 12))


def vectors() -> splitc.TorchModel:
    """Two linear layers, cut behind the relu between them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 11), nn.ReLU(), nn.Linear(11, 3))
    return splitc.load(net, torch.zeros(1, 6))


def examples(model: splitc.TorchModel, count: int = 4) -> list[dict[str, Array]]:
    """Seeded inputs."""
    (entry,) = model.graph.inputs
    rng = np.random.default_rng(0)
    return [
        {entry.name: rng.standard_normal(entry.static_shape).astype(np.float32)}
        for _ in range(count)
    ]


def crossing(model: splitc.TorchModel, batch: dict[str, Array], tensor: str) -> Array:
    """What a tensor holds."""
    head, _ = model.split(Cut.sending(model.graph, tensor))
    return head.run(batch)[tensor]
