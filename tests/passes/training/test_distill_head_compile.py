# SPDX-License-Identifier: Apache-2.0
"""A distilled head and a variational codec, compiled: head and tail give what the module gives."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import nn  # noqa: E402

import splitc  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402


def test_head_and_tail_give_what_the_module_gives(tmp_path: Path) -> None:
    """With a pool in the student, its narrow layer behind it, and a codec around that."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 8, 3, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten())
    model: TorchModel = splitc.load(module, torch.zeros(1, 3, 30, 21))
    pipeline = splitc.Pipeline.parse(
        'distill-head(cut="1", width=4, bottleneck=4), add-noise-bottleneck(channels=3)'
    )
    made = pipeline(model)
    assert made.cut is not None
    bundle = splitc.compile(made, cut=made.cut.name, head="host", output=tmp_path / "b.splitc")
    (boundary,) = bundle.manifest.route.crosses
    assert tuple(boundary.shape) == (1, 5, 4, 3)  # channels last
    assert bundle.verify().worst.relative < 1e-3
