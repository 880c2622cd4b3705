# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""What does it bring to choose cut, dropout rate, bits, packet size and parity together?

Networks of si_nr_cifar10.py are trained for losses and tested on CIFAR-10 with 32, 16, 8 and 4
bits a value at the cut, by the share of the values that is missing: the file of tested networks
that `splitc plan --tested` reads. For a few links and limits the joint choice is held against the
best of each knob alone (bar: none reaches it), and tried out: packets over a simulated link, with
device and server as they are (bar: Wilson's 95 % interval of P(latency <= limit) is not below q),
and the network itself on the test images with what those packets leave. Networks and tests
are kept in `--out`, and not made again.
"""

from __future__ import annotations

import copy
import json
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import cifar
import numpy as np
import torch
from cifar import NETWORKS, Batches, loaders
from safetensors.torch import load_file, save_file
from si_nr_cifar10 import LOSS_RATES, tuned
from torch import Tensor, nn

import splitc
from common import finish, machine, parser
from splitc.frontend.torch.model import TorchModel
from splitc.ir.cut import Cut
from splitc.link.parity_groups import there
from splitc.search.loss_choice import KNOBS, Choice, LossPlan
from splitc.search.tested import WHOLE_BITS, Trained
from splitc.simulate.plan_trial import try_out
from splitc_passes.codecs.quantize_boundary import QuantizeBoundary
from splitc_passes.layers.channel import transmitting
from splitc_passes.layers.element_loss import ElementLoss

BITS = (32, 16, 8, 4)
PLANS = (
    ("9Mbit", 0.2, 25.0, 0.99), ("9Mbit", 0.2, 40.0, 0.99), ("9Mbit", 0.4, 40.0, 0.99),
    ("9Mbit", 0.6, 45.0, 0.99), ("3Mbit", 0.2, 60.0, 0.95), ("20Mbit", 0.4, 25.0, 0.999),
)  # fmt: skip
"""Bandwidth, loss rate, limit in ms, share that must keep it; round trips of 4 ms."""


@dataclass(frozen=True)
class Tuned:
    """A network that was trained for losses, cut in two.

    Args:
        point: Cut point.
        rate: r, as a name.
        head: What runs on the device.
        tail: What runs on the server.
        high: The highest value that crosses on the validation images; the lowest is 0.
    """

    point: str
    rate: str
    head: nn.Module
    tail: nn.Module
    high: float

    def crossing(self, x: Tensor, bits: int) -> Tensor:
        """What the server makes of all levels: `quantize-boundary`'s arithmetic, in one place."""
        values = self.head(x)
        if bits == WHOLE_BITS:
            return values
        top = 2**bits - 1
        levels = (torch.clamp(values / self.high, 0, 1) * top + 0.5).floor()
        return levels * (self.high / top)


def network(options: Namespace, net: nn.Module, point: str, rate: str,
            update: Batches, validation: Batches) -> Tuned:  # fmt: skip
    """A network, trained unless it is kept."""
    name = f"{options.network}-{point}-{rate}-{options.epochs}-{len(update.labels)}"
    kept = options.out / f"{name}-{options.seed}.safetensors"
    own = copy.deepcopy(net)
    cut = NETWORKS[options.network].points[point]
    if rate != "0" and not kept.is_file():
        tuned(options, own, point, rate, update, validation)
        save_file({key: value.contiguous() for key, value in own.state_dict().items()}, kept)
    if rate != "0":
        own.load_state_dict(load_file(kept))
    loaded = splitc.load(own.eval(), torch.zeros(1, 3, 32, 32))
    model = loaded.with_cut(Cut.after(loaded.graph, [cut]))
    return _split(model, cut, point, rate, validation.first(500))


def _split(model: TorchModel, cut: str, point: str, rate: str, validation: Batches) -> Tuned:
    images = next(iter(validation))[0].numpy()
    (name,) = (tensor.name for tensor in model.graph.inputs)
    ranged = QuantizeBoundary(cut=cut).calibrated(model, [{name: images}])
    assert model.cut is not None and ranged.low == 0.0 and ranged.high is not None
    head, tail = (part.module.eval() for part in model.split(model.cut))
    return Tuned(point, rate, head, tail, ranged.high)


def tested(options: Namespace, one: Tuned, test: Batches, images: int) -> list[Trained]:
    """Accuracy in percent by bits and by the share of values that is missing.

    Values are missing one by one, so that the share is what it is said to be: the plan itself
    knows how far packets spread it. Floats are scaled as in training, levels are not: the wire
    does neither otherwise.
    """
    cut = NETWORKS[options.network].points[one.point]
    found: list[Trained] = []
    for bits in BITS:
        name = f"{options.network}-{one.point}-{one.rate}-{options.epochs}-{images}"
        kept = options.out / f"{name}-{options.seed}-{bits}bit-{len(test.labels)}.json"
        if not kept.is_file():
            with torch.no_grad():
                crossing = [(one.crossing(x, bits), y) for x, y in test]
            reached = {f"{rate:g}": _accuracy(one, crossing, rate, bits, options.seed)
                       for rate in LOSS_RATES}  # fmt: skip
            kept.write_text(json.dumps(reached), "utf-8")
        known: dict[str, float] = json.loads(kept.read_text("utf-8"))
        accuracy = {float(rate): value for rate, value in known.items()}
        found.append(Trained(cut, one.rate, accuracy, bits))
        cells = "".join(f"{value:6.1f}" for value in accuracy.values())
        print(f"{one.point:8}{one.rate:>6}{bits:5}{cells}", flush=True)
    return found


def _accuracy(one: Tuned, crossing: list[tuple[Tensor, Tensor]], rate: float, bits: int,
              seed: int) -> float:  # fmt: skip
    channel = ElementLoss(rate, scale="rate" if bits == WHOLE_BITS else "none")
    with torch.no_grad(), transmitting(channel, seed=seed):
        right = sum(int((one.tail(channel(x)).argmax(1) == y).sum()) for x, y in crossing)
    return 100 * right / sum(len(y) for _, y in crossing)


def really(one: Tuned, choice: Choice, test: Batches, seed: int) -> float:
    """Accuracy in percent of the network on what a choice's own packets leave of each image."""
    crossing, bits = choice.crossing, choice.trained.bits
    place = torch.from_numpy(crossing.elements.packet_of_element(seed))
    draws, loss = np.random.default_rng(seed), 1 - crossing.link.loss_rate
    right = 0
    for x, y in test:
        came = draws.random((len(y), crossing.packets + crossing.blocks)) < loss
        here = there(crossing.groups, crossing.packets, came) | choice.sending.resends
        with torch.no_grad():
            values = one.crossing(x, bits)
            kept = torch.from_numpy(here)[:, place].reshape(values.shape)
            scale = 1 / loss if bits == WHOLE_BITS and not choice.sending.resends else 1.0
            right += int((one.tail(values * kept * scale).argmax(1) == y).sum())
    return 100 * right / len(test.labels)


def show(plan: LossPlan, networks: dict[tuple[str, str], Tuned], options: Namespace,
         test: Batches) -> dict[str, object]:  # fmt: skip
    """Print one plan, each knob alone and what came of trying it out."""
    points = {layer: point for point, layer in NETWORKS[options.network].points.items()}

    def words(choice: Choice) -> str:
        cut, rate, bits, mtu, *_ = choice.knobs
        return (
            f"{points[cut]:8}{rate:>6}{bits:5}{mtu:6}  {choice.sending!s:12}"
            f"{choice.latency_s * 1e3:7.1f}{100 * choice.crossing.missing.mean:7.1f}"
            f"{choice.accuracy:7.2f}"
        )

    link, winner = plan.link, plan.winner
    print(f"\n{link}; {plan.within_s * 1e3:g} ms for {100 * plan.share:g} %")
    print(f"{'':16}cut          r bits packet sent             ms missing accuracy")
    print(f"{'together':16}{words(winner)}")
    alone = {knob: plan.alone(knob) for knob in KNOBS}
    for knob, choice in alone.items():
        print(f"{knob:16}" + ("none keeps the limit" if choice is None else words(choice)))
    best = max((one.accuracy for one in alone.values() if one is not None), default=0.0)
    trial = try_out(winner, plan.within_s, options.frames, options.seed)
    low, high = trial.interval
    own = networks[points[winner.trained.cut], winner.trained.dropout_rate]
    real = really(own, winner, test, options.seed)
    print(
        f"{trial.kept} of {trial.frames} simulated frames keep it: {100 * low:.2f} to "
        f"{100 * high:.2f} % (Wilson, 95 %), q {'met' if high >= plan.share else 'missed'}; "
        f"accuracy planned {winner.accuracy:.2f}, simulated {trial.accuracy:.2f}, "
        f"of the network itself {real:.2f}\n"
        f"above the best knob alone: {winner.accuracy - best:.2f} points, "
        f"{'met' if winner.accuracy > best else 'missed'}",
        flush=True,
    )
    return {"knobs": winner.knobs, "accuracy": winner.accuracy, "alone": best, "real": real,
            "latency_ms": winner.latency_s * 1e3, "share": plan.share,
            "kept": (low, high)}  # fmt: skip


def main() -> None:
    """Train, test, plan, try out."""
    made = parser(__doc__ or "")
    cifar.options(made, "build/loss_plan", base_epochs=150)
    made.add_argument("--rates", metavar="R,…", default="0,0.4,mixed", help="dropout")
    made.add_argument("--epochs", type=int, default=4)
    made.add_argument("--learning-rate", type=float, default=1e-3)
    made.add_argument("--frames", type=int, default=2000, help="simulated for each plan")
    made.add_argument("--tested", type=Path, help="write the file of tested networks there too")
    options = made.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.quick:
        options.epochs, options.images, options.frames = 1, options.images or 2560, 200
    options.out.mkdir(parents=True, exist_ok=True)
    update, validation, test = loaders("cifar10", options.data)
    update = update.first(options.images or 20_000)
    test = test.first(options.test_images or 10_000)
    validation = validation.first(1000)
    net = cifar.base(options, "cifar10", update, validation)
    points = (options.points or "layer1,layer2").split(",")
    networks: dict[tuple[str, str], Tuned] = {}
    known: list[Trained] = []
    print("cut          r bits" + "".join(f"{rate:6g}" for rate in LOSS_RATES), flush=True)
    for point in points:
        for rate in options.rates.split(","):
            one = network(options, net, point, rate, update, validation)
            networks[point, rate] = one
            known += tested(options, one, test, len(update.labels))
    splitc.write_tested(options.tested or options.out / "tested.json", known)
    model = splitc.load(net, torch.zeros(1, 3, 32, 32))
    figures: list[dict[str, object]] = []
    for bandwidth, loss, limit_ms, share in PLANS:
        link = splitc.Link(bandwidth, rtt="4ms", loss=loss)
        plan = splitc.plan_for_loss(
            model, known, within=limit_ms / 1e3, share=share, head="rpi4", tail="host", link=link
        )
        figures.append(show(plan, networks, options, test))
    print(f"\n{options.epochs} epochs of {len(update.labels)} images, tested on "
          f"{len(test.labels)}, seed {options.seed}; {machine()}")  # fmt: skip
    finish({"plans": figures}, options.json)


if __name__ == "__main__":
    main()
