# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""A folder laid out like the CIFAR data, with images that a network learns in seconds."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import cifar

STRIP = 500
"""Images in one picture."""


def write(folder: Path, classes: int = 10, strips: int = 2, weights: bool = True) -> Path:
    """Images of coarse patterns, one a class, in noise; and weights learned on them.

    Args:
        folder: Where to.
        classes: 10 or 100.
        strips: Pictures of 500 images to train on.
        weights: Whether to train ResNet20 and write its weights.
    """
    name = f"cifar{classes}"
    (folder / name).mkdir(parents=True)
    for part, count, seed in (("train", strips, 1), ("test", 1, 2)):
        draw = np.random.default_rng(seed)
        labels = draw.integers(0, classes, count * STRIP)
        patterns = np.random.default_rng(0).uniform(64, 192, (classes, 4, 4, 3))
        coarse = patterns[labels].repeat(8, axis=1).repeat(8, axis=2)
        pixels = np.clip(coarse + 40 * draw.standard_normal(coarse.shape), 0, 255).astype(np.uint8)
        with zipfile.ZipFile(folder / name / f"{name}_{part}_webp.zip", "w") as archive:
            for k in range(count):
                strip = pixels[k * STRIP : (k + 1) * STRIP].reshape(-1, 32, 3)
                held = io.BytesIO()
                Image.fromarray(strip).save(held, "WEBP", lossless=True)
                archive.writestr(f"{k:03}.webp", held.getvalue())
            held = io.BytesIO()
            np.save(held, labels.astype(np.uint8))
            archive.writestr("labels.npy", held.getvalue())
    if weights:
        _train(folder)
    return folder


def _train(folder: Path) -> None:
    """Write weights of a ResNet20 in the form of the published ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = cifar.CifarResNet(20).train()
        steps = torch.optim.Adam(net.parameters(), 3e-3)
        pixels, labels = cifar.images("cifar10", "train", folder)
        for _ in range(2):
            for x, y in cifar.Batches(pixels, labels, 64):
                steps.zero_grad()
                torch.nn.functional.cross_entropy(net(x), y).backward()
                steps.step()
    path = folder / "models" / "cifar10_resnet_akamaster" / cifar.NETWORKS["resnet20"].weights
    path.parent.mkdir(parents=True)
    state = {f"module.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state}, path)
