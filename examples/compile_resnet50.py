# SPDX-License-Identifier: Apache-2.0
"""The main job from Python: rank the cuts of a network, compile one, run it.

Run it: `python examples/compile_resnet50.py [NETWORK [FOLDER]]`
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import splitc
from splitc import zoo


def main(network: str = "resnet50", folder: str = ".") -> None:
    """Compile a zoo network for a Raspberry Pi 4 and this machine."""
    path = Path(folder) / f"{network}.onnx"
    path.write_bytes(zoo.build(network).SerializeToString())

    model = splitc.load(path)
    link = splitc.Link("20Mbit", rtt="5ms")
    table = splitc.find_cuts(model, head="rpi4", tail="host", link=link)
    for row in table.usable[:3]:
        cost = row.cost
        print(f"{row.cut.name}: {cost.boundary_bytes:,} bytes, {cost.latency_s * 1e3:.1f} ms")

    bundle = splitc.compile(
        model, cut="auto", head="rpi4", tail="host", link=link, name=network,
        output=Path(folder) / f"{network}.splitc",
    )  # fmt: skip
    image = np.random.default_rng(0).standard_normal(model.graph.inputs[0].static_shape)
    (scores,) = bundle.run(image.astype(np.float32)).values()
    whole = next(iter(model.run({model.graph.inputs[0].name: image.astype(np.float32)}).values()))
    print(f"class {scores.argmax()}, largest difference {np.abs(scores - whole).max():.1e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
