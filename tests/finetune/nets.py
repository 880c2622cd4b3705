# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""A small network and data that it can learn in seconds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import splitc
from splitc.frontend.torch.model import TorchModel
from splitc_passes.training.insert_dropout import InsertDropout

CLASSES = 4
Data = list[tuple[Tensor, Tensor]]


def small(seed: int = 0, dropout: float = 0.3) -> nn.Sequential:
    """Convolution, batch norm, dropout, two fully connected layers: [N, 2, 6, 6] to [N, 4]."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Dropout(dropout), nn.Linear(72, 16), nn.ReLU(), nn.Linear(16, CLASSES),
        ).eval()  # fmt: skip


def blobs(count: int, seed: int = 0, size: int = 16) -> Data:
    """Batches of noisy images around the means of their classes."""
    source = torch.Generator().manual_seed(seed)
    means = torch.randn(CLASSES, 2, 6, 6, generator=torch.Generator().manual_seed(99))
    classes = torch.randint(0, CLASSES, (count,), generator=source)
    images = means[classes] + 0.8 * torch.randn(count, 2, 6, 6, generator=source)
    return list(zip(images.split(size), classes.split(size), strict=True))


def loaded(net: nn.Module | None = None) -> TorchModel:
    """A model of the small network, or of another on the same data."""
    return splitc.load(net or small(), torch.zeros(1, 2, 6, 6))


def lossy(net: nn.Module | None = None, rate: float = 0.3) -> TorchModel:
    """The same with dropout behind its first block."""
    return InsertDropout(cut="2", loss_rate=rate)(loaded(net))
