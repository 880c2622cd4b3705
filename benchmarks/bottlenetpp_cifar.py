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
and 0.01 to 0.15. The paper's own networks, which take a GPU: `papers_on_gpu.py`. `--soft`,
not the paper's: that share of the loss compares with what the network predicts without a
codec. Results go to `--out`, a file each, and are not computed again.
"""

from __future__ import annotations

import copy
import json
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import cifar
import torch
from cifar import NETWORKS, Batches, accuracy
from torch import Tensor, nn

import splitc
from common import finish, parser
from splitc.finetune import data as tuning
from splitc.finetune.data import read
from splitc.finetune.loop import fine_tune
from splitc.finetune.stage import Stage
from splitc.frontend.torch.model import TorchModel
from splitc.ir.cut import Cut
from splitc.link.packets import OVERHEAD_BYTES
from splitc.passes.crossing import crossing_tensor
from splitc_passes.codecs.coded_boundary import CodedBoundary
from splitc_passes.codecs.huffman_boundary import HuffmanBoundary
from splitc_passes.codecs.insert_bottleneck import InsertBottleneck
from splitc_passes.codecs.jpeg_boundary import JpegBoundary
from splitc_passes.layers.awgn import Awgn
from splitc_passes.layers.bit_erasure import BitErasure
from splitc_passes.layers.channel import transmitting
from splitc_passes.layers.channel_state import set_state
from splitc_passes.layers.coded import sizes
from splitc_passes.layers.conditions import DrawConditions
from splitc_passes.layers.packet_loss import PacketLoss
from splitc_passes.training.teacher import SoftTargets, learn_from

LINKS: dict[str, tuple[float, ...]] = {
    "awgn": (25.0, 20.0, 15.0, 10.0),
    "erasure": (0.01, 0.05, 0.1, 0.15),
    "none": (0.0,),
    "wire": (0.0, 0.2),
}
"""Conditions to test under: dB, the share of bits erased, or of packets lost and not sent again."""
USUAL = {"awgn": 20.0, "erasure": 0.01, "none": 0.0, "wire": 0.0}

RATIOS = (4, 16, 64, 256)
CODE_RATE = 0.5
"""Of the channel code that the baselines need, whose bytes must arrive."""
QUALITIES = (90, 50, 20, 5)
BITS = (8, 4, 3, 2, 1)

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
    tested: Literal["awgn", "erasure", "wire"]
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
        device: To compute it on; it is kept on the processor's side.
        passes: How many differently augmented versions of the images to keep.
    """

    def __init__(
        self, head: nn.Module, batches: tuning.Batches, device: str, passes: int = 1
    ) -> None:
        head.eval().to(device)
        torch.manual_seed(0)
        self.stored: list[tuple[Tensor, Any]] = []
        with torch.no_grad():
            for number in range(passes):
                for x, y in read(batches, "train", number + 1):
                    given: Tensor = x[0] if isinstance(x, list) else x
                    self.stored.append((head(given.to(device)).cpu(), y))
        head.cpu()

    def __len__(self) -> int:
        return len(self.stored)

    def __iter__(self) -> Iterator[tuple[Tensor, Any]]:
        return iter([self.stored[i] for i in torch.randperm(len(self.stored)).tolist()])


def train(options: Namespace, net: nn.Module, case: Case, features: dict[str, Any],
          data: tuple[Batches, Batches, Batches]) -> tuple[TorchModel, float]:  # fmt: skip
    """The network with its codec, and the compression ratio.

    First the codec alone, on stored features; then everything at a low learning rate.
    """
    layer = NETWORKS[options.network].points[case.point]
    model = splitc.load(copy.deepcopy(net), torch.zeros(1, 3, 32, 32))
    one = InsertBottleneck(
        case.channels, cut=layer, bits=32 if case.tested == "awgn" else 8, channel=case.link,
        state=case.state, seed=options.seed,
    )  # fmt: skip
    ratios = one.compression(crossing_tensor(model, layer))
    made = one(model)
    vary = DrawConditions() if case.varied else None
    fit(options, model, made, layer, features, data, vary)
    return made, ratios.bandwidth if case.tested == "awgn" else ratios.bits


def fit(options: Namespace, model: TorchModel, made: TorchModel, layer: str,
        features: dict[str, Any], data: tuple[Batches, Batches, Batches],
        vary: DrawConditions | None = None) -> None:  # fmt: skip
    """Train a network's codec, then all of it.

    Args:
        options: Epochs, seed, device, precision, soft targets.
        model: The network without the codec.
        made: With it.
        layer: What it stands behind.
        features: What crosses there, once it is known.
        data: Update, validation and test images.
        vary: Draws the condition of the link.
    """
    how: dict[str, Any] = {"precision": options.precision, "device": options.device}
    codec = Stage("codec", options.codec_epochs, 3e-3, ("link.*",), schedule="cosine",
                  keep="last", vary=vary)  # fmt: skip
    everything = Stage("everything", options.epochs, 3e-4, schedule="cosine", keep="last",
                       vary=vary)  # fmt: skip
    stages: list[Stage] = [codec, everything]
    update: tuning.Batches = data[0]
    validation: tuning.Batches = data[1]
    if options.soft:
        stages, update, validation = learn_from(
            model, SoftTargets(options.soft), stages, update, validation, how
        )
    head, rest = made.split(Cut.after(made.graph, [layer]))
    if layer not in features:
        versions = Features(head.module, update, options.device, options.versions)
        features[layer] = (versions, Features(head.module, validation, options.device))
    fine_tune(rest, stages[:1], *features[layer], seed=options.seed, device=options.device)
    if options.epochs:
        fine_tune(made, stages[1:], update, validation, seed=options.seed, **how)


def tested(
    made: TorchModel, case: Case, layer: str, batches: Batches, options: Namespace
) -> dict[str, float]:
    """Accuracy in percent by condition of the link, which lies between head and tail."""
    place, seed = torch.device(options.device), options.seed
    code = f"{layer}.code" + ("" if case.tested == "awgn" else ".restored")
    parts = made.split(Cut.sending(made.graph, code))
    head, tail = (part.module.eval().to(place) for part in parts)
    found: dict[str, float] = {}
    crossing: list[tuple[Tensor, Tensor]] = []
    for condition in LINKS[case.tested]:
        channel = channel_of(case, condition, options)
        with torch.no_grad(), transmitting(channel, seed=seed):
            if case.state == "known" or not crossing:
                if case.state == "known":
                    set_state(head, float(channel.state(1)))
                crossing = [(head(x.to(place)), y.to(place)) for x, y in batches]
            right = [(tail(channel(sent)).argmax(1) == y).sum().item() for sent, y in crossing]
        found[f"{condition:g}"] = 100 * sum(right) / len(batches.labels)
    return found


def channel_of(case: Case, condition: float, options: Namespace) -> Awgn | BitErasure | PacketLoss:
    """The channel that a codec is tested over."""
    if case.tested == "awgn":
        return Awgn(condition)
    if case.tested == "erasure":
        return BitErasure(condition, 8)
    payload = options.wire_bytes - OVERHEAD_BYTES
    return PacketLoss(condition, payload, element_bytes=1, scale="none")


def cases(options: Namespace, net: nn.Module) -> list[Case]:
    """What is trained: compressions, training without a channel, changing conditions."""
    found: list[Case] = []
    widths: dict[str, int] = {}
    model = splitc.load(net, torch.zeros(1, 3, 32, 32))
    for point in options.points:
        layer = NETWORKS[options.network].points[point]
        widths[point] = width = crossing_tensor(model, layer).static_shape[1]
        for ratio in RATIOS:
            if width * 4 // ratio:
                found.append(Case(point, "awgn", "awgn", width * 4 // ratio))
            if 0 < width * 16 // ratio <= width:
                found.append(Case(point, "erasure", "erasure", width * 16 // ratio))
    last = options.points[-1]
    if options.wire_bytes:
        code = crossing_tensor(model, NETWORKS[options.network].points[last]).static_shape
        places = -(-code[2] // 2) * -(-code[3] // 2)
        found.append(Case(last, "none", "wire", (options.wire_bytes - OVERHEAD_BYTES) // places))
    width = widths[last] // 4
    for link in ("awgn", "erasure"):
        found.append(Case(last, "none", link, width))
        for state in ("none", "known", "assumed"):
            found.append(Case(last, link, link, width, state, varied=True))
    return found


@dataclass(frozen=True)
class Baseline:
    """A coder on a reliable link, as `CODE_RATE` makes a lossy one."""

    point: str
    coder: str
    ratio: float
    lost: float

    def __str__(self) -> str:
        return f"{self.point + ', ' + self.coder:38}{self.ratio:6.1f} {self.lost:8.2f}"


def coded(model: TorchModel, layer: str, one: CodedBoundary, batches: Batches,
          examples: Batches) -> tuple[float, float]:  # fmt: skip
    """Mean bytes of a sample with a coder behind a layer, and accuracy in percent.

    Args:
        model: The network, with weights.
        layer: What the coder stands behind.
        one: The coder; its range comes from the examples, its capacity is ample.
        batches: Images to test on.
        examples: Images to calibrate with.
    """
    name = model.graph.inputs[0].name
    tensor = crossing_tensor(model, layer)
    one = replace(one, cut=layer, capacity=64 + 2 * (tensor.nbytes or 0))
    if one.low is None:
        one = one.calibrated_with(model, [{name: x.numpy()[:1]} for x, _ in examples])
    made = one(model)
    head, tail = (
        part.module.eval() for part in made.split(Cut.sending(made.graph, f"{layer}.encoded"))
    )
    taken: list[int] = []
    right = 0
    with torch.no_grad():
        for x, y in batches:
            right += int((tail(head(x)).argmax(1) == y).sum())
            taken += [size for each in sizes(head).values() for size in each]
    return sum(taken) / len(taken), 100 * right / len(batches.labels)


def baselines(options: Namespace, net: nn.Module, point: str, unsplit: float,
              features: dict[str, Any], data: tuple[Batches, Batches, Batches]
              ) -> list[Baseline]:  # fmt: skip
    """JPEG, levels in Huffman's code, and an autoencoder with JPEG (BottleNet).

    Ratio is the boundary's bytes over the coder's with the channel code around them.
    """
    model = splitc.load(copy.deepcopy(net), torch.zeros(1, 3, 32, 32))
    layer = NETWORKS[options.network].points[point]
    tensor = crossing_tensor(model, layer)
    raw = tensor.nbytes or 0
    examples = replace(data[0], training=False, size=1).first(64)
    found: list[Baseline] = []

    def add(coder: str, bytes_each: float, accuracy: float) -> None:
        found.append(Baseline(point, coder, raw * CODE_RATE / bytes_each, unsplit - accuracy))
        print(found[-1], flush=True)

    for quality in QUALITIES:
        one: CodedBoundary = JpegBoundary(quality=quality)
        add(f"JPEG {quality}", *coded(model, layer, one, data[2], examples))
    for bits in BITS:
        one = HuffmanBoundary(bits=bits)
        add(f"{bits} bits, Huffman", *coded(model, layer, one, data[2], examples))
    width = tensor.static_shape[1] // 4
    code = InsertBottleneck(width, cut=layer, bits=32, seed=options.seed)
    jpeg = JpegBoundary(cut=f"{layer}.code", low=0.0, high=1.0, quality=75)
    with_codec = code(splitc.load(copy.deepcopy(net), torch.zeros(1, 3, 32, 32)))
    room = 64 + 2 * (crossing_tensor(with_codec, jpeg.cut).nbytes or 0)
    with_jpeg = replace(jpeg, capacity=room)(with_codec)
    fit(options, model, with_jpeg, layer, features, data)
    for quality in QUALITIES:  # `with_codec` has the trained weights too
        one = replace(jpeg, quality=quality)
        add(
            f"BottleNet {width}, JPEG {quality}",
            *coded(with_codec, jpeg.cut, one, data[2], examples),
        )
    return found


def table(options: Namespace, net: nn.Module, unsplit: float,
          data: tuple[Batches, Batches, Batches]) -> list[Result]:  # fmt: skip
    """Train, test and print every case and baseline, those that are known from their files."""
    known = NETWORKS[options.network].points
    wanted = options.cases.split(",") if options.cases else [""]
    features: dict[str, Any] = {}
    how = f"{options.codec_epochs}-{options.epochs}-{len(data[0].labels)}-{options.seed}"
    how += f"-soft{options.soft:g}" if options.soft else ""
    how += f"-versions{options.versions}" if options.versions > 1 else ""
    about = f"{options.dataset}-{options.network}"
    results: list[Result] = []
    for case in cases(options, net):
        if not any(text in f"{case.name}$" for text in wanted):
            continue
        kept = options.out / f"{about}-{case.name}-{how}.json"
        if not kept.is_file():
            start = time.monotonic()
            model, ratio = train(options, net, case, features, data)
            found = tested(model, case, known[case.point], data[2], options)
            minutes = (time.monotonic() - start) / 60
            one = Result(asdict(case), ratio, unsplit, found, minutes)
            kept.write_text(json.dumps(asdict(one)), "utf-8")
        results.append(Result(**json.loads(kept.read_text("utf-8"))))
        print(results[-1], flush=True)
    if any(text in "baselines" for text in wanted):
        print(f"coders, with a channel code of rate {CODE_RATE:g}; points lost without errors")
        for point in options.points:
            kept = options.out / f"{about}-{point}-baselines-{how}.json"
            if kept.is_file():
                rows = [Baseline(**row) for row in json.loads(kept.read_text("utf-8"))]
                print(*rows, sep="\n", flush=True)
            else:
                rows = baselines(options, net, point, unsplit, features, data)
                kept.write_text(json.dumps([asdict(row) for row in rows]), "utf-8")
    return results


def judge(results: list[Result], last: str) -> None:
    """Print the bars."""
    for result in results:
        case = Case(**result.case)
        if case.tested == "wire":
            kept, lossy = (result.unsplit - result.accuracy[rate] for rate in ("0", "0.2"))
            print(f"{case.name:38} one packet a frame: {kept:.2f} points lost where it comes or is "
                  f"sent again, bar 2: {'met' if kept < 2 else 'missed'}; {lossy:.2f} where 20 % "
                  "of the packets are lost for good")  # fmt: skip
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
    cifar.options(made, "build/bottlenetpp", base_epochs=20)
    made.add_argument(
        "--cases", metavar="TEXT,…", help="only those whose name has such a text; $ ends it"
    )
    made.add_argument("--codec-epochs", type=int, default=6)
    made.add_argument("--epochs", type=int, default=1, help="of the last stage")
    made.add_argument("--wire-bytes", type=int, default=0, metavar="N",
                      help="also a codec of 8 bits whose frame is one packet of N bytes, of which "
                      f"{OVERHEAD_BYTES} are headers")  # fmt: skip
    made.add_argument("--versions", type=int, default=1, help="augmented versions kept as features")
    options = made.parse_args()
    known = NETWORKS[options.network].points
    options.points = options.points.split(",") if options.points else [*known][-2:]
    if options.wire_bytes and options.wire_bytes <= OVERHEAD_BYTES:
        made.error(f"--wire-bytes {options.wire_bytes}: headers alone are {OVERHEAD_BYTES}")
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.quick:
        options.codec_epochs, options.epochs, options.base_epochs = 1, 1, 1
        options.images = options.images or 2560
    options.out.mkdir(parents=True, exist_ok=True)
    update, validation, test = cifar.loaders(options.dataset, options.data)
    if options.images:
        update = update.first(options.images)
    net = cifar.base(options, options.dataset, update, validation.first(1000))
    if options.test_images:
        test = test.first(options.test_images)
    data = (update, validation.first(1000), test)
    unsplit = accuracy(net, test, options.device)
    print(f"{options.dataset}, {options.network}, without a codec: {unsplit:.2f} %")
    print(
        "points lost by condition (dB 25 20 15 10, or bits erased 0.01 0.05 0.1 0.15)", flush=True
    )
    results = table(options, net, unsplit, data)
    judge(results, options.points[-1])
    minutes = sum(result.minutes for result in results)
    print(f"codec {options.codec_epochs} and everything {options.epochs} epoch(s) of "
          f"{len(update.labels)} images, seed {options.seed}, {minutes:.0f} minutes, "
          f"{torch.get_num_threads()} thread(s)")  # fmt: skip
    finish({"results": [asdict(result) for result in results]}, options.json)


if __name__ == "__main__":
    main()
