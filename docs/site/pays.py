# SPDX-License-Identifier: Apache-2.0
"""The pictures of "Does a split pay?": `python docs/site/pays.py`, which writes docs/images/pays*.

`docs/images/pays.json` has the figures, each from a table of cuts that `splitc.find_cuts` made;
the pictures are drawn from it. A test computes some of the figures anew.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

import splitc
from places import DOCS, ROOT
from splitc.frontend.onnx import OnnxModel

IMAGES = DOCS / "images"
FIGURES = IMAGES / "pays.json"
NETWORKS = {"resnet50": "ResNet50", "mobilenet_v2": "MobileNetV2"}
DEVICES = {
    "rpi-zero2w": "Raspberry Pi Zero 2 W",
    "rpi4": "Raspberry Pi 4",
    "rpi5": "Raspberry Pi 5",
}
SERVER = "x86-64-v3"
MBIT = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256)
CODECS = {
    "split": None,
    "split, 8 bits": "quantize-boundary(bits=8)",
    "split, learned codec": "insert-bottleneck(channels=8)",
}
LINES = {
    "all on the device": ("#6b7280", "--"), "all on the server": ("#111827", ":"),
    "all on the server, JPEG": ("#111827", "-."),
    "split": ("#2563eb", "-"), "split, 8 bits": ("#d97706", "-"),
    "split, learned codec": ("#059669", "-"),
}  # fmt: skip
"""Colour and dash of each line of a picture."""


def network(name: str) -> tuple[OnnxModel, OnnxModel]:
    """A network that reads floats, and the same one reading a camera's bytes."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from networks import build

    proto = build(name)
    return splitc.load(proto), splitc.load(proto, preprocess="uint8 nhwc scale=1/255")


def latencies(models: tuple[OnnxModel, OnnxModel], device: str, mbit: float) -> dict[str, float]:
    """Milliseconds of a frame in each of the ways, at one bandwidth.

    The server is sent frames of bytes, as a camera gives them, or JPEG, and the splits are those
    of the network itself: a cut in front of its first layer would be no split.
    """
    floats, frames = models
    link = splitc.Link(mbit * 1e6, rtt="5ms")
    whole = splitc.find_cuts(frames, head=device, tail=SERVER, link=link)
    (jpeg,) = (row for row in whole.sent if row.sent is not None)
    found = {
        "all on the device": whole.device.cost.latency_s,
        "all on the server": whole.server.cost.latency_s,
        "all on the server, JPEG": jpeg.cost.latency_s,
    }
    for name, codec in CODECS.items():
        table = splitc.find_cuts(floats, head=device, tail=SERVER, link=link, codec=codec)
        found[name] = table.best.cost.latency_s
    return {name: round(seconds * 1e3, 2) for name, seconds in found.items()}


def figures() -> dict[str, Any]:
    """Every figure: milliseconds by network, device, way and bandwidth."""
    made: dict[str, Any] = {"mbit": MBIT}
    for name in NETWORKS:
        models = network(name)
        for device in DEVICES:
            points = [latencies(models, device, mbit) for mbit in MBIT]
            ways = {way: [point[way] for point in points] for way in LINES}
            made.setdefault(name, {})[device] = ways
    return made


def where_it_pays(ways: dict[str, list[float]], way: str, *, jpeg: bool = True) -> list[float]:
    """The bandwidths at which a split is quicker than all on either machine, in Mbit/s.

    Args:
        ways: Milliseconds by way and bandwidth.
        way: The split.
        jpeg: Whether the server may be sent JPEG, and not bytes alone.
    """
    wholes = ["all on the device", "all on the server"] + ["all on the server, JPEG"] * jpeg
    others = zip(*(ways[one] for one in wholes), strict=True)
    return [
        mbit
        for mbit, one, other in zip(MBIT, ways[way], map(min, others), strict=True)
        if one < other
    ]


def table(*, jpeg: bool = True) -> str:
    """Where a split pays, as a Markdown table."""
    known = json.loads(FIGURES.read_text("utf-8"))
    rows = ["| network | device | " + " | ".join(CODECS) + " |", "|---|---|---|---|---|"]
    for name, title in NETWORKS.items():
        for device, board in DEVICES.items():
            spans = [_span(where_it_pays(known[name][device], way, jpeg=jpeg)) for way in CODECS]
            rows.append(f"| {title} | {board} | " + " | ".join(spans) + " |")
    return "\n".join(rows)


def _span(mbit: list[float]) -> str:
    if not mbit:
        return "never"
    return f"{mbit[0]:g} to {mbit[-1]:g} Mbit/s" if len(mbit) > 1 else f"at {mbit[0]:g} Mbit/s"


def draw(name: str, known: dict[str, Any]) -> None:
    """A network's picture: a panel a device, latency against bandwidth."""
    figure: Any = Figure(figsize=(9, 3.9), layout="constrained")
    panels: Any = figure.subplots(1, len(DEVICES), sharey=True)
    for axes, (device, board) in zip(panels, DEVICES.items(), strict=True):
        for way, (colour, dash) in LINES.items():
            axes.plot(MBIT, known[name][device][way], dash, color=colour, label=way, linewidth=1.8)
        axes.set(xscale="log", yscale="log", title=board, xlabel="bandwidth, Mbit/s")
        axes.set_xticks((0.25, 1, 4, 16, 64, 256), ("0.25", "1", "4", "16", "64", "256"))
        axes.minorticks_off()
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("a frame, ms")
    panels[0].set_yticks((10, 100, 1000, 10000), ("10", "100", "1,000", "10,000"))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.suptitle(f"{NETWORKS[name]}: what a frame takes, predicted", fontsize=11)
    figure.savefig(IMAGES / f"pays-{name}.svg", metadata={"Date": None, "Creator": None})


def main() -> None:
    """Compute, write and draw."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "splitc", "font.size": 9})
    mpl.rcParams["font.family"] = "sans-serif"
    known = figures()
    FIGURES.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
    for name in NETWORKS:
        draw(name, known)


if __name__ == "__main__":
    main()
