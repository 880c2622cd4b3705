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
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

import splitc
from splitc.finetune.loop import fine_tune
from splitc.finetune.stage import Stage

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
"""Where the data lies unless `--data` says otherwise."""

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


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


class Vgg16(nn.Module):
    """VGG16 with batch norms for images of 32 x 32 pixels, one fully connected layer.

    Args:
        classes: Of the classification.

    References:
        Simonyan, Zisserman, "Very Deep Convolutional Networks", ICLR 2015, configuration D.
    """

    def __init__(self, classes: int = 100) -> None:
        super().__init__()
        inside = 3
        for k, (count, outside) in enumerate(
            zip((2, 2, 3, 3, 3), (64, 128, 256, 512, 512), strict=True)
        ):
            parts: list[nn.Module] = []
            for _ in range(count):
                parts += [nn.Conv2d(inside, outside, 3, padding=1, bias=False),
                          nn.BatchNorm2d(outside), nn.ReLU()]  # fmt: skip
                inside = outside
            self.add_module(f"block{k + 1}", nn.Sequential(*parts, nn.MaxPool2d(2)))
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 32, 32] to [N, classes]."""
        for k in range(1, 6):
            x = self.get_submodule(f"block{k}")(x)
        return self.linear(self.flatten(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut.

    References:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, figure 5.
    """

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        outside = 4 * width
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, outside, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outside)
        self.relu3 = nn.ReLU()
        self.shortcut = nn.Identity() if inside == outside and stride == 1 else nn.Sequential(
            nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """[N, inside, H, W] to [N, 4 width, H/stride, W/stride]."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu2(self.bn2(self.conv2(y)))))
        return self.relu3(y + self.shortcut(x))


class ResNet50(nn.Module):
    """ResNet50 for images of 32 x 32 pixels: its first layer halves, and no pooling follows.

    So its last maps are 2048 x 2 x 2, as the paper on BottleNet++ has them.

    Args:
        classes: Of the classification.
    """

    def __init__(self, classes: int = 100) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        inside = 64
        for k, (count, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True)):
            parts: list[nn.Module] = []
            for i in range(count):
                parts.append(Bottleneck(inside, width, 2 if k and not i else 1))
                inside = 4 * width
            self.add_module(f"layer{k + 1}", nn.Sequential(*parts))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(2048, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 32, 32] to [N, classes]."""
        x = self.relu(self.bn1(self.conv1(x)))
        for k in range(1, 5):
            x = self.get_submodule(f"layer{k}")(x)
        return self.linear(self.flatten(self.pool(x)))


@dataclass(frozen=True)
class Network:
    """A network of the experiments.

    Args:
        make: Gives it untrained, for a number of classes.
        points: The layers that it can be cut behind, by short names.
        weights: File of its weights on CIFAR-10; "" for none.
    """

    make: Callable[[int], nn.Module]
    points: dict[str, str]
    weights: str = ""

    def net(self, classes: int, folder: Path = DATA) -> nn.Module:
        """It in eval mode: with the weights on CIFAR-10, for more classes a new last layer."""
        made = self.make(classes)
        if self.weights:
            path = folder / "models" / "cifar10_resnet_akamaster" / self.weights
            if not path.is_file():
                raise SystemExit(f"there is no {path}: --data names the folder of the weights")
            stored = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
            named = {key.removeprefix("module."): value for key, value in stored.items()}
            if classes != CLASSES["cifar10"]:
                named = {key: v for key, v in named.items() if not key.startswith("linear.")}
            missing, unexpected = made.load_state_dict(named, strict=False)
            assert not unexpected
            assert all(key.startswith("linear.") for key in missing)
        # oneDNN computes convolutions in this order half as fast again.
        for parameter in made.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return made.eval()


CLASSES = {"cifar10": 10, "cifar100": 100}
NETWORKS = {
    "resnet20": Network(
        partial(CifarResNet, 20),
        {"stem": "relu", **{f"layer{k}": f"layer{k}.2.relu2" for k in (1, 2, 3)}},
        "resnet20-12fca82f.th",
    ),
    "resnet56": Network(
        partial(CifarResNet, 56),
        {"stem": "relu", **{f"layer{k}": f"layer{k}.8.relu2" for k in (1, 2, 3)}},
        "resnet56-4bfd9763.th",
    ),
    "paper": Network(
        PaperNet,
        {f"block{k}": f"block{k}.{i}" for k, i in ((1, 5), (2, 5), (3, 7), (4, 7), (5, 7))},
    ),
    "vgg16": Network(
        Vgg16,
        {f"block{k}": f"block{k}.{i}" for k, i in ((1, 6), (2, 6), (3, 9), (4, 9))},
    ),
    "resnet50": Network(
        ResNet50,
        {f"layer{k}": f"layer{k}.{i}.relu3" for k, i in ((1, 2), (2, 3), (3, 5), (4, 2))},
    ),
}  # fmt: skip
"""ResNet20 and ResNet56 reach 91.73 % and 93.39 % of CIFAR-10's test images as they come."""


def options(made: ArgumentParser, out: str, base_epochs: int) -> None:
    """Options that the experiments share.

    Args:
        made: Gets them.
        out: Folder for results unless `--out` says otherwise.
        base_epochs: Unless `--base-epochs` says otherwise.
    """
    made.add_argument("--network", choices=[*NETWORKS], default="resnet20")
    made.add_argument("--points", metavar="NAME,…", help="of these cut points only")
    made.add_argument("--base-epochs", type=int, default=base_epochs,
                      help="to train a network without weights for these images")  # fmt: skip
    made.add_argument("--images", type=int, help="update images")
    made.add_argument("--test-images", type=int, help="test images")
    made.add_argument("--soft", type=float, default=0.0, help="share of soft targets")
    made.add_argument("--device", default="cpu", help="to train on: cpu, cuda")
    made.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    made.add_argument("--threads", type=int, default=0, help="of PyTorch [all]")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--data", type=Path, default=DATA, help="folder of the images and weights")
    made.add_argument("--out", type=Path, default=Path(out), help="results, a file each")


def base(chosen: Namespace, dataset: str, update: Batches, validation: Batches) -> nn.Module:
    """The network as it is before any pass: with weights that are at hand, or trained here.

    What is trained is kept in `--out`, as checkpoints until it is done.
    """
    network = NETWORKS[chosen.network]
    net = network.net(CLASSES[dataset], chosen.data)
    if network.weights and dataset == "cifar10":
        return net
    stored = chosen.out / f"{dataset}-{chosen.network}-{chosen.base_epochs}.safetensors"
    if not stored.is_file():
        model = splitc.load(net, torch.zeros(1, 3, 32, 32))
        stage = (
            Stage("base", chosen.base_epochs, 1e-3, schedule="cosine", patience=20)
            if chosen.network == "paper"
            else Stage("base", chosen.base_epochs, 0.05, optimizer="sgd", weight_decay=5e-4,
                       schedule="cosine")
        )  # fmt: skip
        tuned = fine_tune(model, (stage,), update, validation, seed=chosen.seed,
                          precision=chosen.precision, device=chosen.device,
                          checkpoint=stored.with_suffix(""), resume=True)  # fmt: skip
        seconds = sum(each.seconds for each in tuned.history)
        print(f"{dataset}, {chosen.network} trained: {seconds / 60:.0f} minutes", flush=True)
        save_file({key: value.contiguous() for key, value in net.state_dict().items()}, stored)
    net.load_state_dict(load_file(stored))
    return net.eval()


def accuracy(module: nn.Module, batches: Batches, device: str = "cpu") -> float:
    """Share of the images whose class is found, in percent; computed on the device."""
    module.eval().to(device)
    right = count = 0
    with torch.no_grad():
        for x, target in batches:
            found = module(x.to(device)).argmax(1).cpu()
            right += int((found == target).sum())
            count += len(target)
    module.cpu()
    return 100 * right / count
