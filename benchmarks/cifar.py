# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""CIFAR-10 and CIFAR-100, and networks for them: what the experiments train on.

Images: `cifar10_train_webp.zip` and `…_test_webp.zip` (lossless WebP strips of 500
images, `labels.npy`) in a folder `cifar10`, CIFAR-100 likewise. Weights of ResNet20 and
ResNet56 on CIFAR-10: the `.th` files of akamaster/pytorch_resnet_cifar10.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
"""Where the data lies unless `--data` says otherwise."""

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
WEIGHTS = {20: "resnet20-12fca82f.th", 56: "resnet56-4bfd9763.th"}


@dataclass(frozen=True)
class Batches:
    """Images as normalised batches, shuffled and augmented anew at each pass if asked for.

    What is drawn comes from torch's own generator, which training seeds for each epoch.

    Args:
        images: uint8 [N, 3, 32, 32].
        labels: int64 [N].
        size: Images a batch.
        training: Shuffle, crop out of a frame of four pixels, flip.
    """

    images: Tensor
    labels: Tensor
    size: int = 128
    training: bool = False

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self.labels)
        order = torch.randperm(count) if self.training else torch.arange(count)
        for start in range(0, count, self.size):
            chosen = order[start : start + self.size]
            images = self.images[chosen].float() / 255
            if self.training:
                images = _augmented(images)
            yield ((images - MEAN) / STD), self.labels[chosen]

    def first(self, count: int) -> Batches:
        """Only so many of the images."""
        return replace(self, images=self.images[:count], labels=self.labels[:count])


def _augmented(images: Tensor) -> Tensor:
    count = len(images)
    framed = F.pad(images, (4, 4, 4, 4))
    rows = torch.randint(0, 9, (count, 1)) + torch.arange(32)
    columns = torch.randint(0, 9, (count, 1)) + torch.arange(32)
    flipped = torch.rand(count, 1) < 0.5
    columns = torch.where(flipped, columns.flip(1), columns)
    each = torch.arange(count).view(-1, 1, 1)
    cropped = framed.permute(0, 2, 3, 1)[each, rows.unsqueeze(2), columns.unsqueeze(1)]
    return cropped.permute(0, 3, 1, 2).contiguous()


def images(name: str, part: str, folder: Path = DATA) -> tuple[Tensor, Tensor]:
    """All images [N, 3, 32, 32] uint8 and labels [N] of `cifar10` or `cifar100`, in seeded order.

    Args:
        name: `cifar10` or `cifar100`.
        part: `train` or `test`.
        folder: Where the data lies.
    """
    from PIL import Image

    path = folder / name / f"{name}_{part}_webp.zip"
    if not path.is_file():
        raise SystemExit(f"there is no {path}: --data names the folder of {name}")
    with zipfile.ZipFile(path) as archive:
        strips = sorted(entry for entry in archive.namelist() if entry.endswith(".webp"))
        pixels = np.concatenate([
            np.asarray(Image.open(io.BytesIO(archive.read(strip))).convert("RGB"))
            .reshape(-1, 32, 32, 3)
            for strip in strips
        ])  # fmt: skip
        labels = np.load(io.BytesIO(archive.read("labels.npy")))
    order = np.random.default_rng(0).permutation(len(labels))
    return (
        torch.from_numpy(pixels[order].transpose(0, 3, 1, 2).copy()),
        torch.from_numpy(labels[order].astype(np.int64)),
    )


def loaders(
    name: str, folder: Path = DATA, size: int = 128, limit: int | None = None
) -> tuple[Batches, Batches, Batches]:
    """Update, validation (9:1 of the training images) and test images.

    Args:
        name: `cifar10` or `cifar100`.
        folder: Where the data lies.
        size: Images a batch.
        limit: At most so many update images, and a fifth as many of the others.
    """
    pixels, labels = images(name, "train", folder)
    held = len(labels) // 10
    update = Batches(pixels[held:], labels[held:], size, training=True)
    validation = Batches(pixels[:held], labels[:held], 500)
    test = Batches(*images(name, "test", folder), 500)
    if limit is not None:
        return update.first(limit), validation.first(limit // 5), test.first(limit // 5)
    return update, validation, test


class Block(nn.Module):
    """Two convolutions and a shortcut without parameters (option A).

    References:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2.
    """

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.relu2 = nn.ReLU()
        self.more = (outside - inside) // 2
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[N, inside, H, W] to [N, outside, H/stride, W/stride]."""
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        if self.more:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return self.relu2(y + x)


class CifarResNet(nn.Module):
    """ResNet with 6n + 2 layers for images of 32 x 32 pixels.

    Args:
        depth: 20, 32, 44, 56 …
        classes: Of the classification.
    """

    def __init__(self, depth: int = 20, classes: int = 10) -> None:
        super().__init__()
        count = (depth - 2) // 6

        def stack(inside: int, outside: int) -> nn.Sequential:
            first = Block(inside, outside, 1 if inside == outside else 2)
            return nn.Sequential(first, *(Block(outside, outside, 1) for _ in range(count - 1)))

        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = stack(16, 16)
        self.layer2 = stack(16, 32)
        self.layer3 = stack(32, 64)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 32, 32] to [N, classes]."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.flatten(self.pool(x)))


def trained(depth: int = 20, folder: Path = DATA) -> CifarResNet:
    """A ResNet trained on CIFAR-10: 91.73 % (20 layers) or 93.39 % (56) of the test images."""
    path = folder / "models" / "cifar10_resnet_akamaster" / WEIGHTS[depth]
    if not path.is_file():
        raise SystemExit(f"there is no {path}: --data names the folder of the weights")
    stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    net = CifarResNet(depth)
    net.load_state_dict({key.removeprefix("module."): value for key, value in stored.items()})
    # oneDNN computes convolutions in this order half as fast again.
    for parameter in net.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return net.eval()


class PaperNet(nn.Module):
    """The CNN of the paper on packet-loss-tolerant split inference, for CIFAR-10.

    Five blocks of 2, 2, 3, 3, 3 convolutions 3 x 3 with 64, 128, 256, 512, 512 channels,
    batch norm on the last of each, max-pool 2 x 2, dropout; then 256, 128 and 10 units.

    References:
        Itahara, Nishio, Yamamoto, GLOBECOM 2021, arXiv:2104.13629, section IV.
    """

    def __init__(self, classes: int = 10, dropout: float = 0.25) -> None:
        super().__init__()
        inside = 3
        for k, (count, outside) in enumerate(
            zip((2, 2, 3, 3, 3), (64, 128, 256, 512, 512), strict=True)
        ):
            parts: list[nn.Module] = []
            for i in range(count):
                parts.append(nn.Conv2d(inside, outside, 3, padding=1))
                if i == count - 1:
                    parts.append(nn.BatchNorm2d(outside))
                parts.append(nn.ReLU())
                inside = outside
            parts += [nn.MaxPool2d(2), nn.Dropout(dropout)]
            self.add_module(f"block{k + 1}", nn.Sequential(*parts))
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(),
            nn.Linear(128, classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 32, 32] to [N, classes]."""
        for k in range(1, 6):
            x = self.get_submodule(f"block{k}")(x)
        return self.head(x)


def accuracy(module: nn.Module, batches: Batches, device: str = "cpu") -> float:
    """Share of the images whose class is found, in percent."""
    module.eval()
    right = count = 0
    with torch.no_grad():
        for x, target in batches:
            found = module(x.to(device)).argmax(1).cpu()
            right += int((found == target).sum())
            count += len(target)
    return 100 * right / count
