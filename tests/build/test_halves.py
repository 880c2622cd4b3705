# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""Numbers beyond float16 between the layers of a GPU's part: said as it is compiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import splitc
from splitc.build.compiler import build
from splitc.build.job import plan
from splitc.cost.board import Board
from tests.targets.gpu.device import simulated
from tests.targets.nets import Net


class _Torch(nn.Module):
    """Two products, what is between them multiplied by a factor and divided behind them."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.factor = nn.Linear(8, 8), nn.Linear(8, 8), factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)) * self.factor) / self.factor


def _onnx(between: float, fused: float = 1.0) -> splitc.Network:
    """Three convolutions: what the second gives, and what the third gives before it is clipped."""
    net = Net(0)
    x = net.op("Relu", net.op("Conv", net.input(1, 8, 6, 6), net.random(8, 8, 3, 3)))
    x = net.op("Relu", net.op("Conv", x, net.random(8, 8, 1, 1) * np.float32(between)))
    x = net.op("Conv", x, net.random(8, 8, 1, 1) * np.float32(fused / between))
    x = net.op("Clip", x, np.array(-1, np.float32), np.array(1, np.float32))
    net.outputs = [net.op("Conv", x, net.random(8, 8, 1, 1))]
    return splitc.load(net.proto())


def _said(model: splitc.Network, board: Board, folder: Path, cut: str = "server") -> str:
    notes: list[str] = []
    job = plan(model, cut=cut, head="host", tail=board)
    build(job, output=folder / "x.splitc", check=False, twins=False, note=notes.append)
    return "\n".join(notes)


@pytest.mark.parametrize("cut", ["server", "t4"])
def test_the_tensor_that_float16_does_not_hold_is_named(cut: str, tmp_path: Path) -> None:
    said = _said(_onnx(between=1e6), simulated("float16"), tmp_path, cut)
    assert "tail: " in said
    assert "float16 ends at 65504" in said
    assert "--precision tf32" in said


def test_networks_of_pytorch_too(tmp_path: Path) -> None:
    model = splitc.load(_Torch(1e7), (torch.zeros(1, 8),))
    assert "float16 ends at 65504" in _said(model, simulated("float16"), tmp_path)


@pytest.mark.parametrize("precision", ["float16", "tf32"])
def test_nothing_is_said_of_what_is_held(precision: str, tmp_path: Path) -> None:
    """Within a kernel numbers are in float32, and in tf32 everywhere as large."""
    between = 1.0 if precision == "float16" else 1e6
    said = _said(_onnx(between=between, fused=1e6), simulated(precision), tmp_path)
    assert "65504" not in said
