# SPDX-License-Identifier: Apache-2.0
"""How much memory does a process take that loads a whole network and runs it?

Resident peaks of processes that load the network once and run it six times, in turn: `splitc-run`,
Python with `load_part`, Python with onnxruntime, Python with OpenVINO (`pip install openvino`) in
float32 and in what it takes by itself. Bar: each of splitc's at most 0.6 of the least of the
others'. A page of a file counts once it is touched, whoever else has it in memory too.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from loading import by_runner, in_python, in_turn
from loading_side import Figures
from networks import NAMES
from sides import Worker, prepare, read_arrays

from common import finish, parser, said, some_of

NETWORKS = ["resnet50", "mobilenet_v2", "vit_s16"]
OURS = ("splitc-run", "load_part")
BAR = 0.6


def peaks(name: str, rounds: int, folder: Path) -> dict[str, Figures]:
    """Figures of each side, medians of some rounds; `peak_mb` among them."""
    network = prepare(name, folder)
    part, x = folder / "part", folder / "x.npy"
    np.save(x, read_arrays(network.inputs)[0])
    with Worker("splitc", 2) as worker:
        worker.ask("compile", model=str(network.simplified), board="host", part=str(part))
    sides: dict[str, Callable[[], Figures]] = {
        "splitc-run": lambda: by_runner(part, x),
        "load_part": lambda: in_python("part", part, x),
        "onnxruntime": lambda: in_python("onnxruntime", network.original, x),
    }
    if find_spec("openvino"):
        sides["OpenVINO, float32"] = lambda: in_python("openvino f32", network.original, x)
        sides["OpenVINO"] = lambda: in_python("openvino", network.original, x)
    return in_turn(rounds, sides)


def main() -> None:
    """Measure each network."""
    made = parser(__doc__ or "")
    made.add_argument("--networks", type=some_of(NAMES), metavar="A,B", help="default: three")
    options = made.parse_args()
    figures: dict[str, Any] = {}
    for name in options.networks or (NETWORKS[1:2] if options.quick else NETWORKS):
        with tempfile.TemporaryDirectory() as folder:
            found = peaks(name, 1 if options.quick else 5, Path(folder))
        print(f"{name}: " + ", ".join(f"{s} {one['peak_mb']:.1f} MB" for s, one in found.items()))
        least = min(one["peak_mb"] for side, one in found.items() if side not in OURS)
        for side in OURS:
            said(f"{side} / the least of the others", found[side]["peak_mb"] / least, BAR)
        figures[name] = found
        sys.stdout.flush()
    finish(figures, options.json)


if __name__ == "__main__":
    main()
