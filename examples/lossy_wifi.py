# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""A classifier whose head and tail are joined by a link that loses 30 % of all packets.

Run it: `make live`, or `python examples/lossy_wifi.py [FOLDER [SECONDS [IMAGES]]]`: so long for
each way of sending, so many images to train on. It trains a small network that bears lost packets
(SI-NR), compiles it, and serves the tail on this machine, behind a link of 20 Mbit/s in a network
namespace of its own, where the kernel drops what arrives. The device then sends images four ways:
once (SI-NR), with parity packets, with what is lost sent again until the deadline, and over TCP. It
prints accuracy and latency, and draws `lossy_wifi.svg`.

Where namespaces are not allowed, a relay in user space loses the packets, and TCP, whose packets
only the kernel sees, is left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import splitc
from splitc.arrays import Arrays
from splitc.finetune import Stage, fine_tune
from splitc.frontend.torch.model import TorchModel
from splitc.net.relay import Impairment, Relay
from splitc.send import Device
from splitc.serve import Server
from splitc_passes.recipes.si_nr import SiNr

LOSS, RATE = 0.3, "20Mbit"
DEADLINE = "60ms"
FEWEST = 100
"""Frames that say something of the accuracy."""
CUT = "2"
WAYS: dict[str, dict[str, Any]] = {
    "sent once (SI-NR)": {"transport": "udp", "deadline": DEADLINE},
    "with parity": {"transport": "parity", "parity": "80%", "deadline": DEADLINE},
    "resent until the deadline": {"transport": "resend", "deadline": DEADLINE},
    "TCP": {"transport": "tcp", "deadline": "60s", "silent_after": "60s"},
}


def network() -> nn.Sequential:
    """Three convolutions and a classifier for images [N, 3, 32, 32]; 32 kB cross behind CUT."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1, stride=2), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1, stride=2), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1, stride=2), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Flatten(), nn.Linear(512, 8),
    )  # fmt: skip


def shapes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images of eight figures at random places, in any colour and much noise, and what they are."""
    draw = np.random.default_rng(seed)
    classes = draw.integers(0, 8, count)
    images = draw.standard_normal((count, 3, 32, 32)).astype(np.float32)
    y, x = np.mgrid[0:16, 0:16] - 7.5
    ring = abs(np.hypot(x, y) - 5.5) < 1.5
    figures = [
        abs(x) < 2, abs(y) < 2, (abs(x) < 2) | (abs(y) < 2), abs(x - y) < 2.5,
        (abs(x - y) < 2) | (abs(x + y) < 2), ring, np.maximum(abs(x), abs(y)) > 5.5,
        ring | (abs(y) < 1.5),
    ]  # fmt: skip
    for image, kind in zip(images, classes, strict=True):
        row, column = draw.integers(0, 16, 2)
        colour = draw.uniform(0.6, 1.6, 3)[:, None, None] * draw.choice([-1, 1])
        image[:, row : row + 16, column : column + 16] += colour * figures[kind]
    return torch.from_numpy(images), torch.from_numpy(classes)


def batches(count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Images to train or to validate on, by the 64."""
    images, classes = shapes(count, seed)
    return list(zip(images.split(64), classes.split(64), strict=True))


def taught(count: int) -> TorchModel:
    """The network, taught to tell the figures."""
    torch.manual_seed(0)
    given = splitc.load(network(), torch.zeros(1, 3, 32, 32))
    stages = [Stage("base", epochs=4, learning_rate=3e-3)]
    fine_tune(given, stages, batches(count, 0), batches(512, 1))
    return given


def train(folder: Path, count: int) -> Path:
    """The network, taught to bear lost packets, compiled for this machine."""
    recipe = SiNr(cut=CUT, loss_rate=LOSS, epochs=3)
    tuned = recipe.tune(taught(count), batches(count, 0), batches(512, 1))
    made = splitc.compile(
        tuned.model, cut="auto", head="host", tail="host", name="shapes",
        output=folder / "shapes.splitc",
    )  # fmt: skip
    return made.path


def class_of(results: Arrays) -> int:
    """What an image was taken for."""
    return int(next(iter(results.values())).argmax())


def send(to: str, bundle: Path, images: Any, way: str, seconds: float) -> dict[str, Any]:
    """Send images one after the other: milliseconds and classes of those that had time."""
    found: list[int] = []
    took: list[float] = []
    share: list[float] = []
    until = time.monotonic() + seconds
    with Device(bundle, to=to, **WAYS[way]) as device:
        for image in images:
            answer = device(image[None])
            found.append(class_of(answer.found) if answer.found else -1)
            took.append(answer.frame_s * 1e3)
            share.append(answer.share)
            if time.monotonic() > until:
                break
    return {"classes": found, "ms": took, "share": float(np.mean(share))}


def behind_a_relay(bundle: Path, images: Any, seconds: float) -> dict[str, Any]:
    """What each way gives where a process in the middle loses the packets; TCP is left out."""
    bad = Impairment(loss=LOSS, bandwidth=RATE)
    with (
        Server([bundle], bind="127.0.0.1:0") as server,
        Relay(server.address, up=bad, down=Impairment(loss=LOSS), seed=1) as relay,
    ):
        return {way: send(str(relay.address), bundle, images, way, seconds) for way in [*WAYS][:-1]}


LINK = f"""
ip link set lo mtu 1500 gso_max_segs 1 up
tc qdisc add dev lo root tbf rate {RATE.lower()} burst 6000 latency 400ms
nft add table inet link
nft add chain inet link arriving '{{ type filter hook input priority 0; }}'
nft add rule inet link arriving numgen random mod 100 '<' {int(LOSS * 100)} drop
"""
"""The link, in a namespace that holds nothing else: its rate, and what its receivers lose."""


def in_a_namespace(
    script: str, link: str, bundle: Path, images: Path, seconds: float
) -> dict[str, Any] | None:
    """What a script's `--inside` prints in a namespace with a link; None where none is allowed."""
    inside = f"set -e{link}exec {sys.executable} {Path(script).resolve()} --inside $0 $1 $2"
    user = ["--user", "--map-root-user"] if os.getuid() else []
    given = [str(bundle), str(images), str(seconds)]
    command = ["unshare", *user, "--net", "sh", "-c", inside, *given]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    except FileNotFoundError:
        return None
    return json.loads(done.stdout) if done.returncode == 0 else None


def inside(bundle: Path, images: Any, seconds: float) -> dict[str, Any]:
    """Serve and send, in the namespace."""
    with Server([bundle], bind="127.0.0.1:0") as server:
        return {way: send(str(server.address), bundle, images, way, seconds) for way in WAYS}


def draw(found: dict[str, Any], path: Path) -> bool:
    """Draw how many frames were answered after how long; whether matplotlib is there."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for way, one in found.items():
        times = np.sort(one["ms"])
        axes.plot(times, np.arange(1, len(times) + 1) / len(times), label=way)
    axes.set(xscale="log", xlabel="latency of a frame [ms]", ylabel="share answered",
             title=f"{LOSS:.0%} of packets lost, {RATE}/s")  # fmt: skip
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path)
    return True


def main(folder: str = ".", seconds: str = "10", count: str = "4096") -> None:
    """Train, compile, serve, send, compare."""
    here = Path(folder)
    bundle = train(here, int(count))
    images, classes = shapes(300, 2)
    np.save(here / "images.npy", images.numpy())
    with splitc.Bundle.open(bundle).open_parts() as split:
        clean = [class_of(split(x[None])) for x in images.numpy()]
    print(f"without loss          accuracy {np.mean(clean == classes.numpy()):6.1%}")
    found = in_a_namespace(__file__, LINK, bundle, here / "images.npy", float(seconds))
    if found is None:
        print("no network namespace here: a relay loses the packets, and TCP is left out")
        found = behind_a_relay(bundle, images.numpy(), float(seconds))
    print(f"{LOSS:.0%} of packets lost     accuracy   received   p50 ms   p99 ms   frames")
    for way, one in found.items():
        frames = len(one["ms"])
        right = np.mean(one["classes"] == classes.numpy()[:frames])
        accuracy = f"{right:.1%}" if frames >= FEWEST else "few"
        p50, p99 = np.percentile(one["ms"], [50, 99])
        print(f"{way:26}{accuracy:>7} {one['share']:10.1%} {p50:8.1f} {p99:8.1f} {frames:8}")
    picture = here / "lossy_wifi.svg"
    if draw(found, picture):
        print(f"drawn: {picture}")
    else:
        print("no picture without matplotlib: pip install 'splitc[plot]'")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        json.dump(inside(Path(sys.argv[2]), np.load(sys.argv[3]), float(sys.argv[4])), sys.stdout)
    else:
        main(*sys.argv[1:])
