# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""How much accuracy does a learned codec cost, at which compression, over which link?

BottleNet++ (Shao, Zhang, ICC Workshops 2020) on CIFAR-10 or CIFAR-100: bit compression
over an erasing link (1 % of the bits) and bandwidth compression over a noisy one (20 dB),
at several cuts; the codec trained without its channel; how it holds when the link gets
worse than it was trained for, in the three cases of what the encoder is told; against
JPEG and quantisation with Huffman on a reliable link at code rate 1/2. Bars: at the last
cut less than 2 points lost at 64 times and 4 at 256 times; less than 1 over 25 to 10 dB
and 0.01 to 0.15. Results go to `--out`, a file each, and are not computed again.
"""

from __future__ import annotations

import copy
import json
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from cifar import DATA, Batches, CifarResNet, accuracy, loaders, trained
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import splitc
from common import finish, parser
from splitc.cut import Cut
from splitc.finetune import Stage, fine_tune
from splitc.frontend.torch import TorchModel
from splitc.insertion import crossing_tensor
from splitc_passes.insert_bottleneck import InsertBottleneck
from splitc_passes.layers.awgn import Awgn
from splitc_passes.layers.bit_erasure import BitErasure
from splitc_passes.layers.channel import transmitting
from splitc_passes.layers.channel_state import set_state
from splitc_passes.layers.conditions import DrawConditions

POINTS = {
    20: {"layer1": "layer1.2.relu2", "layer2": "layer2.2.relu2", "layer3": "layer3.2.relu2"},
    56: {"layer1": "layer1.8.relu2", "layer2": "layer2.8.relu2", "layer3": "layer3.8.relu2"},
}
LINKS: dict[str, tuple[float, ...]] = {
    "awgn": (25.0, 20.0, 15.0, 10.0),
    "erasure": (0.01, 0.05, 0.1, 0.15),
    "none": (0.0,),
}
"""Conditions to test under: dB, or the share of bits erased."""
USUAL = {"awgn": 20.0, "erasure": 0.01, "none": 0.0}

State = Literal["none", "known", "assumed"]


@dataclass(frozen=True)
class Case:
    """One codec to train.

    Args:
        point: Cut point.
        link: Channel in training; `none` trains without one.
        tested: Channel in test.
        channels: Of the code.
        state: What the encoder is told.
        varied: The condition of the link is drawn anew for each batch in training.
    """

    point: str
    link: Literal["awgn", "erasure", "none"]
    tested: Literal["awgn", "erasure"]
    channels: int
    state: State = "none"
    varied: bool = False

    @property
    def name(self) -> str:
        """Short and unique."""
        how = f"-{self.state}" if self.varied else ""
        return f"{self.point}-{self.tested}-{self.channels}-by-{self.link}{how}"


@dataclass(frozen=True)
class Result:
    """A codec trained and tested; accuracies in percent, by condition."""

    case: dict[str, Any]
    ratio: float
    unsplit: float
    accuracy: dict[str, float]
    minutes: float

    def __str__(self) -> str:
        case = Case(**self.case)
        lost = "".join(f"{self.unsplit - value:8.2f}" for value in self.accuracy.values())
        return f"{case.name:38}{self.ratio:6.0f} {lost}"


class Features:
    """What crosses, computed once, as batches.

    Args:
        head: Gives what crosses.
        batches: Images.
        passes: How many differently augmented versions of the images to keep.
    """

    def __init__(self, head: nn.Module, batches: Batches, passes: int = 1) -> None:
        head.eval()
        torch.manual_seed(0)
        self.stored: list[tuple[Tensor, Tensor]] = []
        with torch.no_grad():
            for _ in range(passes):
                self.stored += [(head(x), y) for x, y in batches]

    def __len__(self) -> int:
        return len(self.stored)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter([self.stored[i] for i in torch.randperm(len(self.stored)).tolist()])


def base(options: Namespace, data: tuple[Batches, Batches, Batches]) -> CifarResNet:
    """The network without a codec; on CIFAR-100 trained here, from the weights for CIFAR-10."""
    net = trained(options.depth, options.data)
    if options.dataset == "cifar10":
        return net
    net.linear = nn.Linear(64, 100)
    stored = options.out / f"base-{options.depth}-{options.base_epochs}.safetensors"
    if not stored.is_file():
        model = splitc.load(net, torch.zeros(1, 3, 32, 32))
        stage = Stage("base", epochs=options.base_epochs, learning_rate=2e-3, schedule="cosine")
        fine_tune(model, (stage,), *data[:2], seed=options.seed, precision=options.precision,
                  checkpoint=options.out / "base", resume=True)  # fmt: skip
        save_file({key: value.contiguous() for key, value in net.state_dict().items()}, stored)
    net.load_state_dict(load_file(stored))
    return net


def train(options: Namespace, net: nn.Module, case: Case, features: dict[str, Any],
          data: tuple[Batches, Batches, Batches]) -> tuple[TorchModel, float]:  # fmt: skip
    """The network with its codec, and the compression ratio.

    First the codec alone, on stored features; then everything at a low learning rate.
    """
    update, validation, _ = data
    layer = POINTS[options.depth][case.point]
    model = splitc.load(copy.deepcopy(net), torch.zeros(1, 3, 32, 32))
    one = InsertBottleneck(
        case.channels, cut=layer, bits=32 if case.tested == "awgn" else 8, channel=case.link,
        state=case.state, seed=options.seed,
    )  # fmt: skip
    ratios = one.compression(crossing_tensor(model, layer))
    made = one(model)
    vary = DrawConditions() if case.varied else None
    head, rest = made.split(Cut.after(made.graph, [layer]))
    if case.point not in features:
        versions = Features(head.module, update, options.versions)
        features[case.point] = (versions, Features(head.module, validation))
    codec = Stage("codec", epochs=options.codec_epochs, learning_rate=3e-3, trainable=("link.*",),
                  schedule="cosine", keep="last", vary=vary)  # fmt: skip
    fine_tune(rest, (codec,), *features[case.point], seed=options.seed)
    if options.epochs:
        everything = Stage("everything", epochs=options.epochs, learning_rate=3e-4,
                           schedule="cosine", keep="last", vary=vary)  # fmt: skip
        fine_tune(made, (everything,), update, validation, seed=options.seed,
                  precision=options.precision)  # fmt: skip
    return made, ratios.bandwidth if case.tested == "awgn" else ratios.bits


def tested(
    made: TorchModel, case: Case, layer: str, batches: Batches, seed: int
) -> dict[str, float]:
    """Accuracy in percent by condition of the link, which lies between head and tail."""
    code = f"{layer}.code" + ("" if case.tested == "awgn" else ".restored")
    head, tail = (part.module.eval() for part in made.split(Cut.sending(made.graph, code)))
    found: dict[str, float] = {}
    crossing: list[tuple[Tensor, Tensor]] = []
    for condition in LINKS[case.tested]:
        channel = Awgn(condition) if case.tested == "awgn" else BitErasure(condition, 8)
        with torch.no_grad(), transmitting(channel, seed=seed):
            if case.state == "known" or not crossing:
                if case.state == "known":
                    set_state(head, float(channel.state(1)))
                crossing = [(head(x), y) for x, y in batches]
            right = [(tail(channel(sent)).argmax(1) == y).sum().item() for sent, y in crossing]
        found[f"{condition:g}"] = 100 * sum(right) / len(batches.labels)
    return found


def cases(options: Namespace) -> list[Case]:
    """What is trained: compressions, training without a channel, changing conditions."""
    found: list[Case] = []
    for point in options.points.split(","):
        width = {"layer1": 16, "layer2": 32, "layer3": 64}[point]
        for ratio in (4, 16, 64, 256):
            if width * 4 // ratio:
                found.append(Case(point, "awgn", "awgn", width * 4 // ratio))
            if 0 < width * 16 // ratio <= width:
                found.append(Case(point, "erasure", "erasure", width * 16 // ratio))
    last = options.points.split(",")[-1]
    for link, width in (("awgn", 16), ("erasure", 16)):
        found.append(Case(last, "none", link, width))  # pyright: ignore[reportArgumentType]
        for state in ("none", "known", "assumed"):
            found.append(Case(last, link, link, width, state, varied=True))  # pyright: ignore[reportArgumentType]
    return found


def judge(results: list[Result], last: str) -> None:
    """Print the bars."""
    for result in results:
        case = Case(**result.case)
        if case.point == last and case.link == case.tested and not case.varied:
            lost = result.unsplit - result.accuracy[f"{USUAL[case.tested]:g}"]
            bar = {64: 2.0, 256: 4.0}.get(round(result.ratio))
            if bar is not None:
                print(f"{case.name:38} {result.ratio:.0f} times: {lost:.2f} points lost, bar "
                      f"{bar:g}: {'met' if lost < bar else 'missed'}")  # fmt: skip
        if case.varied:
            values = result.accuracy.values()
            spread = max(values) - min(values)
            print(f"{case.name:38} over the range: {spread:.2f} points, bar 1: "
                  f"{'met' if spread < 1 else 'missed'}")  # fmt: skip


def main() -> None:
    """Train and test every case that has no result yet."""
    made = parser(__doc__ or "")
    made.add_argument("--dataset", choices=["cifar10", "cifar100"], default="cifar10")
    made.add_argument("--depth", type=int, choices=[*POINTS], default=20, help="of the ResNet")
    made.add_argument("--points", metavar="NAME,…", default="layer2,layer3")
    made.add_argument("--codec-epochs", type=int, default=6)
    made.add_argument("--epochs", type=int, default=1, help="of the last stage")
    made.add_argument("--base-epochs", type=int, default=8, help="on CIFAR-100")
    made.add_argument("--versions", type=int, default=1, help="augmented versions kept as features")
    made.add_argument("--images", type=int, help="update images; a fifth as many to test on")
    made.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    made.add_argument("--threads", type=int, default=0, help="of PyTorch [all]")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--data", type=Path, default=DATA, help="folder of the images and weights")
    made.add_argument("--out", type=Path, default=Path("build/bottlenetpp"), help="results")
    options = made.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.quick:
        options.codec_epochs, options.epochs, options.base_epochs = 1, 1, 1
        options.images = options.images or 2560
    options.out.mkdir(parents=True, exist_ok=True)
    update, validation, test = loaders(options.dataset, options.data)
    if options.images:
        update = update.first(options.images)
    data = (update, validation.first(1000), test)
    net = base(options, data)
    unsplit = accuracy(net, test)
    print(f"{options.dataset}, ResNet{options.depth}, without a codec: {unsplit:.2f} %")
    print(
        "points lost by condition (dB 25 20 15 10, or bits erased 0.01 0.05 0.1 0.15)", flush=True
    )
    features: dict[str, Any] = {}
    results: list[Result] = []
    for case in cases(options):
        name = f"{options.dataset}-{options.depth}-{case.name}-{options.codec_epochs}"
        name += f"-{options.epochs}-{len(update.labels)}-{options.seed}.json"
        kept = options.out / name
        if not kept.is_file():
            start = time.monotonic()
            model, ratio = train(options, net, case, features, data)
            layer = POINTS[options.depth][case.point]
            found = tested(model, case, layer, test, options.seed)
            minutes = (time.monotonic() - start) / 60
            kept.write_text(
                json.dumps(asdict(Result(asdict(case), ratio, unsplit, found, minutes)))
            )
        results.append(Result(**json.loads(kept.read_text("utf-8"))))
        print(results[-1], flush=True)
    judge(results, options.points.split(",")[-1])
    minutes = sum(result.minutes for result in results)
    print(f"codec {options.codec_epochs} and everything {options.epochs} epoch(s) of "
          f"{len(update.labels)} images, seed {options.seed}, {minutes:.0f} minutes, "
          f"{torch.get_num_threads()} thread(s)")  # fmt: skip
    finish({"results": [asdict(result) for result in results]}, options.json)


if __name__ == "__main__":
    main()
