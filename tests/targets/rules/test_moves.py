# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Layers that only move elements: by rule, held against PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import splitc
from splitc.cost.board import load_board
from splitc_targets import pipeline
from splitc_targets.backend import TvmBackend


class Moved(torch.nn.Module):
    """A function of a map as a network."""

    def __init__(self, move: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.move = move

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.move(x * 2)


MOVES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "borders from the other side": lambda x: F.pad(x, (1, 2, 3, 0), mode="circular"),
    "borders mirrored": lambda x: F.pad(x, (1, 2, 3, 0), mode="reflect"),
    "borders repeated": lambda x: F.pad(x, (1, 2, 3, 0), mode="replicate"),
    "turned round": lambda x: torch.roll(x, (2, -3), (2, 3)),
    "turned round as a row": lambda x: torch.roll(x, 5),
    "backwards": lambda x: x.flip(1, 3),
    "again and again": lambda x: x.repeat(1, 2, 1, 3),
    "each again": lambda x: x.repeat_interleave(2, 2),
    "a slice replaced": lambda x: torch.slice_scatter(x, x[:, :, 1:4] + 1, 2, -4, -1),
    "a slice replaced at the end": lambda x: torch.slice_scatter(x, x[..., :2] + 1, 3, 4),
    "windows": lambda x: x.view(2, 3, 3, 2, 3, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, 3),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_elements_has_a_rule(name: str) -> None:
    net, x = (
        Moved(MOVES[name]).eval(),
        torch.from_numpy(np.random.default_rng(0).random((2, 3, 6, 6), np.float32)),
    )
    model = splitc.load(torch.export.export(net, (x,)))
    code = pipeline.compile_module(TvmBackend().lower(model), load_board("host"))
    np.testing.assert_array_equal(code.here()(x.numpy())[0], net(x).numpy())
    assert not code.fallbacks
