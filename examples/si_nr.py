# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""SI-NR: make a network of your own bear lost packets, then compile it.

Run it: `python examples/si_nr.py [FOLDER]`. The data are noisy shapes made on the spot; for
yours, write another `loaders`.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import splitc
from splitc.finetune import Stage, fine_tune
from splitc.frontend.torch import TorchModel
from splitc_passes.layers.channel import transmitting
from splitc_passes.layers.packet_loss import PacketLoss
from splitc_passes.recipes.si_nr import SiNr

CUT = "2"


def network() -> nn.Sequential:
    """Two convolutions and a classifier for images [N, 1, 16, 16]."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 4),
    )  # fmt: skip


def shapes(count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Batches of bars, crosses and frames at random places, in noise; four classes."""
    source = torch.Generator().manual_seed(seed)
    classes = torch.randint(0, 4, (count,), generator=source)
    images = 0.7 * torch.randn(count, 1, 16, 16, generator=source)
    corners = torch.randint(0, 8, (count, 2), generator=source)
    for image, kind, (row, column) in zip(images, classes, corners.tolist(), strict=True):
        patch = image[0, row : row + 8, column : column + 8]
        if kind in (0, 2):
            patch[3:5] += 2
        if kind in (1, 2):
            patch[:, 3:5] += 2
        if kind == 3:
            patch[[0, -1]] += 2
            patch[:, [0, -1]] += 2
    return list(zip(images.split(32), classes.split(32), strict=True))


def loaders() -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    """Batches to train and to validate on."""
    return shapes(768, 0), shapes(256, 1)


def accuracy(model: TorchModel, loss_rate: float) -> float:
    """Share found by a network that is cut, packets of 200 bytes lost on the way."""
    cut = splitc.Cut.after(model.graph, [CUT])
    head, tail = (part.module.eval() for part in model.split(cut))
    link, right, count = PacketLoss(loss_rate, payload_bytes=200), 0, 0
    with torch.no_grad(), transmitting(link, seed=0):
        for x, y in shapes(256, 2):
            for image, kind in zip(x, y, strict=True):
                scores = tail(link(head(image.unsqueeze(0))))
                right += int(scores.argmax(1) == kind)
                count += 1
    return right / count


def main(folder: str = ".") -> None:
    """Train with and without dropout at the cut, compare, compile."""
    torch.manual_seed(0)
    train, validate = loaders()
    plain = splitc.load(network(), torch.zeros(1, 1, 16, 16))
    fine_tune(plain, [Stage("base", epochs=5)], train, validate)

    other = splitc.load(copy.deepcopy(plain.module), torch.zeros(1, 1, 16, 16))
    tuned = SiNr(cut=CUT, loss_rate=0.3, epochs=5).tune(other, train, validate)

    print("packets lost   as it was   SI-NR")
    for rate in (0.0, 0.3, 0.6):
        print(f"{rate:12.1f} {accuracy(plain, rate):11.3f} {accuracy(other, rate):7.3f}")

    bundle = splitc.compile(
        tuned.model, cut="auto", head="host", tail="host", name="si_nr",
        output=Path(folder) / "si_nr.splitc",
    )  # fmt: skip
    print(f"compiled and verified: {bundle.verify().passed}")


if __name__ == "__main__":
    main(*sys.argv[1:])
