# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Is accuracy over a real link that loses packets what the experiment says for that loss?

ResNet20 on CIFAR-10, cut behind a stage, head and tail compiled for this machine; every test
image goes through `splitc.send` and `splitc.serve` in a network namespace whose kernel drops
packets, 500 bytes of elements in each. Beside it what si_nr_cifar10.py finds with its channel
layer at the same loss. Bar: within half a point.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import cifar
import numpy as np
import torch
from cifar import NETWORKS, loaders
from private_net import lose, run_inside
from si_nr_cifar10 import under_loss

import splitc
from common import finish, parser
from splitc.ir.cut import Cut
from splitc.link.packets import payload_bytes

BAR = 0.5
MTU = 500 + 1500 - payload_bytes(1500)


def over_the_link(bundle: Path, inputs: Path, percent: float) -> None:
    """Send every image, and write the classes that come back beside them."""
    from splitc.send import Device
    from splitc.serve import Server

    frames = np.load(inputs)
    with Server([bundle], bind="127.0.0.1:0") as server:
        lose(percent, f"udp dport {server.address.port}")
        with Device(bundle, to=str(server.address), mtu=MTU, deadline="500ms") as device:
            answers = list(device.stream(frame[None] for frame in frames))
    classes = [int(next(iter(one.results.values())).argmax()) for one in answers]
    share = float(np.mean([one.share for one in answers]))
    median = float(np.median([one.frame_s for one in answers])) * 1e3
    np.savez(inputs.with_suffix(".npz"), classes=classes, share=share, median=median)


def main() -> None:
    """Compare at one loss."""
    made = parser(__doc__ or "")
    cifar.options(made, "build/live_accuracy", base_epochs=1)
    made.add_argument("--point", default="layer2", help="where it is cut")
    made.add_argument("--loss", type=float, default=20.0, metavar="PERCENT")
    made.add_argument("--inside", nargs=2, type=Path, metavar=("BUNDLE", "INPUTS"))
    options = made.parse_args()
    if options.inside:
        bundle, inputs = options.inside
        over_the_link(bundle, inputs, options.loss)
        return
    update, validation, test = loaders("cifar10", options.data)
    test = test.first(options.test_images or (200 if options.quick else len(test.labels)))
    net = cifar.base(options, "cifar10", update, validation)
    model = splitc.load(net, torch.zeros(1, 3, 32, 32))
    cut = NETWORKS[options.network].points[options.point]
    sent = Cut.after(model.graph, [cut])
    expected = under_loss(model.with_cut(sent), test, options.seed)[f"{options.loss / 100:g}"]
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        bundle = splitc.compile(
            model, cut=cut, head="host", tail="host", name="live", output=where / "live.splitc"
        ).path
        pixels = torch.cat([batch for batch, _ in test]).numpy()
        np.save(where / "inputs.npy", pixels)
        command = [sys.executable, __file__, "--loss", str(options.loss)]
        run_inside([*command, "--inside", str(bundle), str(where / "inputs.npy")])
        with np.load(where / "inputs.npz") as found:
            right = 100 * float(np.mean(found["classes"] == test.labels.numpy()))
            share, median = float(found["share"]), float(found["median"])
    print(f"{len(test.labels)} images, {options.loss:g} % of packets lost, {share:.1%} received, "
          f"a frame in {median:.2f} ms at the median")  # fmt: skip
    apart = abs(right - expected)
    print(f"over the link {right:.2f} %, by the channel layer {expected:.2f} %: {apart:.2f} apart "
          f"(bar {BAR:g}: {'met' if apart <= BAR else 'missed'})")  # fmt: skip
    finish({"link": right, "layer": expected, "share": share, "median_ms": median}, options.json)


if __name__ == "__main__":
    main()
