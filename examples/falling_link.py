# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""A link that falls from 20 to 3 Mbit/s and recovers, and a device that gives up bits meanwhile.

Run it: `make live`, or `python examples/falling_link.py [FOLDER [SECONDS [IMAGES]]]`. It trains the
classifier of lossy_wifi.py and compiles it with three routes at one cut: what crosses as float32,
in 4 bits and in 2. The device sends images one after the other, each to be answered within 30 ms,
once with the float32 route alone and once with `within=30ms`: of the routes that keep the limit the
most exact one, by what is measured of the link. The kernel of a network namespace slows the link, a
relay in user space where namespaces are not allowed. It prints what became of the frames, and
draws `falling_link.svg`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lossy_wifi import CUT, class_of, in_a_namespace, shapes, taught

import splitc
from splitc.link.link_trace import LinkTrace
from splitc.net.relay import Impairment, Relay
from splitc.send import Device
from splitc.serve import Server

MBIT = (20, 3, 20)
"""The link's rates, each for a third of the time."""
WITHIN_MS = 30
WAYS: dict[str, dict[str, Any]] = {
    "float32 alone": {"route": CUT},
    "within 30 ms": {"within": f"{WITHIN_MS}ms"},
}


def compiled(folder: Path, count: int) -> Path:
    """The classifier with three routes, compiled for this machine."""
    given = taught(count)
    (name,) = (tensor.name for tensor in given.graph.inputs)
    images, _ = shapes(512, 3)
    made = splitc.compile(
        given, cuts=[CUT], bits=[4, 2], batches=[{name: image[None]} for image in images.numpy()],
        head="host", tail="host", name="shapes", output=folder / "routes.splitc",
    )  # fmt: skip
    return made.path


def send(to: str, bundle: Path, images: Any, way: str, seconds: float) -> dict[str, Any]:
    """Send images one after the other, for so long: when each began, its route, time and class."""
    found: list[tuple[float, str | None, float, int]] = []
    start = time.monotonic()
    with Device(bundle, to=to, deadline="300ms", silent_after="5s", **WAYS[way]) as device:
        while (began := time.monotonic() - start) < seconds:
            answer = device(images[len(found) % len(images)][None])
            kind = class_of(answer.found) if answer.found else -1
            found.append((began, answer.route, answer.frame_s * 1e3, kind))
            time.sleep(max(0.0, WITHIN_MS / 1e3 - answer.frame_s))
        switches = device.switches
    return {"frames": found, "switches": switches}


def slowed(change: Callable[[int], None], seconds: float) -> threading.Thread:
    """Set the rates one after the other, from now on."""

    def work() -> None:
        for mbit in MBIT:
            change(mbit)
            time.sleep(seconds / len(MBIT))

    thread = threading.Thread(target=work)
    thread.start()
    return thread


LINK = """
ip link set lo mtu 1500 gso_max_segs 1 up
tc qdisc add dev lo root tbf rate 100mbit burst 6000 latency 400ms
"""


def inside(bundle: Path, images: Any, seconds: float) -> dict[str, Any]:
    """Serve and send in the namespace, whose kernel slows the link."""

    def change(mbit: int) -> None:
        rate = f"tc qdisc change dev lo root tbf rate {mbit}mbit burst 6000 latency 400ms"
        subprocess.run(rate.split(), check=True)

    found: dict[str, Any] = {}
    with Server([bundle], bind="127.0.0.1:0") as server:
        for way in WAYS:
            thread = slowed(change, seconds)
            found[way] = send(str(server.address), bundle, images, way, seconds)
            thread.join()
    return found


def behind_a_relay(bundle: Path, images: Any, seconds: float) -> dict[str, Any]:
    """The same where a process in the middle slows the link."""
    times = [k * seconds / len(MBIT) for k in range(len(MBIT))]
    trace = LinkTrace(times, [mbit * 1e6 for mbit in MBIT], [0.0] * len(MBIT))
    found: dict[str, Any] = {}
    with Server([bundle], bind="127.0.0.1:0") as server:
        for way in WAYS:
            with Relay(server.address, up=Impairment(varying=trace)) as relay:
                found[way] = send(str(relay.address), bundle, images, way, seconds)
    return found


def draw(found: dict[str, Any], seconds: float, path: Path) -> bool:
    """Draw what the link did, and each frame's latency by route; whether matplotlib is there."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(7, 5), layout="constrained")
    link, *rows = figure.subplots(1 + len(found), sharex=True, height_ratios=[1, 2, 2])
    thirds = np.arange(len(MBIT) + 1) * seconds / len(MBIT)
    link.stairs(MBIT, thirds, color="black")
    link.set(ylabel="Mbit/s", ylim=(0, None), title="The link, and the latency of each frame")
    for axes, (way, one) in zip(rows, found.items(), strict=True):
        for route in dict.fromkeys(frame[1] for frame in one["frames"]):
            shown = [(t, ms) for t, name, ms, _ in one["frames"] if name == route]
            axes.plot(*zip(*shown, strict=True), ".", markersize=3, label=route)
        axes.axhline(WITHIN_MS, color="grey", linewidth=0.8)
        axes.set(ylabel=f"{way} [ms]", yscale="log")
        axes.legend(loc="upper left", title="route")
    rows[-1].set_xlabel("time [s]")
    figure.savefig(path)
    return True


def main(folder: str = ".", seconds: str = "9", count: str = "4096") -> None:
    """Train, compile, serve, send, compare."""
    here = Path(folder)
    bundle = compiled(here, int(count))
    images, classes = shapes(300, 2)
    np.save(here / "images.npy", images.numpy())
    found = in_a_namespace(__file__, LINK, bundle, here / "images.npy", float(seconds))
    if found is None:
        print("no network namespace here: a relay slows the link")
        found = behind_a_relay(bundle, images.numpy(), float(seconds))
    print(
        f"{MBIT[0]} to {MBIT[1]} Mbit/s and back    accuracy  in time   p50 ms   p95 ms  switches"
    )
    for way, one in found.items():
        kinds = np.array([kind for *_, kind in one["frames"]])
        right = np.mean(kinds == np.resize(classes.numpy(), len(kinds)))
        ms = np.array([ms for _, _, ms, _ in one["frames"]])
        p50, p95 = np.percentile(ms, [50, 95])
        print(f"{way:26}{right:8.1%} {np.mean(ms <= WITHIN_MS):8.1%} {p50:8.1f} {p95:8.1f} "
              f"{one['switches']:8}")  # fmt: skip
    picture = here / "falling_link.svg"
    if draw(found, float(seconds), picture):
        print(f"drawn: {picture}")
    else:
        print("no picture without matplotlib: pip install 'splitc[plot]'")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        json.dump(inside(Path(sys.argv[2]), np.load(sys.argv[3]), float(sys.argv[4])), sys.stdout)
    else:
        main(*sys.argv[1:])
