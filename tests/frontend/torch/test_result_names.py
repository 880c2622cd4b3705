# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
"""Results of `.pt2` files are called by the layer that makes them, as those of the module are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402

import splitc  # noqa: E402


class Heads(nn.Module):
    """A module, a function, and both parts of one call as results, in tuples and a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.boxes = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor], tuple[Tensor, ...]]:
        y = self.trunk(x)
        return self.boxes(y), {"scores": torch.softmax(y, -1)}, y.split(2, 1)


def test_results_are_called_by_their_layer_through_every_door(tmp_path: Path) -> None:
    net = Heads().eval()
    x = torch.randn(1, 4)
    torch.export.save(torch.export.export(net, (x,)), tmp_path / "heads.pt2")
    with torch.no_grad():
        boxes, rest, halves = net(x)
    for model in (splitc.load(tmp_path / "heads.pt2"), splitc.load(net, x)):
        made = model.run({"x": x.numpy()})
        assert list(made) == ["boxes", "softmax", "split.0", "split.1"]
        for given, wanted in zip(made.values(), (boxes, rest["scores"], *halves), strict=True):
            np.testing.assert_array_equal(given, wanted.numpy())
