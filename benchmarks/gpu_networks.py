# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Do kernels for graphics processors compute whole networks as onnxruntime does?

    python benchmarks/gpu_networks.py [--networks NAME,NAME] [--precision float32,tf32,float16]

Each network is compiled whole for OpenCL and run by a processor's OpenCL (pocl): the kernels that
CUDA gets, with the same blocks, threads, shared memory and barriers. In tf32 and float16 every
product that tensor cores can take has their twin, which rounds operands as they do. Said is the
largest difference as a part of the largest result. No GPU is needed; times say nothing of one.
Bar: 1e-4 in float32, 1e-2 in tf32 and float16; nothing falls back.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import networks
import numpy as np
from onnxruntime import InferenceSession

import splitc
from common import finish, parser, said, some_of
from splitc.cost.board import Board, Gpu, load_board

BARS = {"float32": 1e-4, "tf32": 1e-2, "float16": 1e-2}
QUICK = ["squeezenet"]


@dataclass(frozen=True)
class Row:
    """What became of a network.

    Args:
        off: The largest difference from onnxruntime, as a part of the largest result.
        fallbacks: Operations that no rule fitted.
        seconds: What compiling and running took together.
    """

    network: str
    precision: str
    off: float
    fallbacks: int
    seconds: float


def board_of(precision: str) -> Board:
    """OpenCL's device; where a precision is asked for, as if tensor cores were all that it has."""
    board = load_board("opencl-pocl")
    if precision == "float32":
        return board
    assert isinstance(board.unit, Gpu)
    unit = msgspec.structs.replace(board.unit, tensor={precision: 1024.0}, precision=precision)
    return msgspec.structs.replace(board, unit=unit, flops_per_cycle=1e-3)


def tried(name: str, precision: str) -> Row:
    """Compile a network, run it, and hold it against onnxruntime."""
    proto = networks.build(name)
    (entry,) = proto.graph.input
    shape = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    session = InferenceSession(proto.SerializeToString())
    right: Any = session.run(None, {entry.name: x})
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bundle = splitc.compile(
            splitc.load(proto), cut="server", head="host", tail=board_of(precision),
            output=f"{folder}/whole.splitc", check=False,
        )  # fmt: skip
        found = bundle.run({entry.name: x})
        written = json.loads(Path(folder, "whole.splitc", "tail", "manifest.json").read_bytes())
    seconds = time.perf_counter() - start
    names = [value.name for value in proto.graph.output]
    off = max(
        float(np.abs(found[name] - wanted).max() / np.abs(wanted).max())
        for name, wanted in zip(names, right, strict=True)
    )
    return Row(name, precision, off, len(written.get("fallbacks", ())), seconds)


def main() -> None:
    """Try networks in precisions, and print each."""
    made = parser(__doc__ or "")
    made.add_argument("--networks", type=some_of(networks.NAMES), metavar="NAME,NAME")
    made.add_argument("--precision", type=some_of(BARS), default=["float32"])
    options = made.parse_args()
    rows: list[Row] = []
    for name in options.networks or (QUICK if options.quick else networks.NAMES):
        for precision in options.precision:
            row = tried(name, precision)
            rows.append(row)
            print(f"{name:16} {precision:8} off by {row.off:.1e} of the "
                  f"largest result (bar {BARS[precision]:g}), {row.fallbacks} fell back, "
                  f"{row.seconds:.0f} s", flush=True)  # fmt: skip
    for precision in options.precision:
        worst = max(row.off for row in rows if row.precision == precision)
        said(f"largest difference in {precision}, in parts of a million", 1e6 * worst,
             1e6 * BARS[precision])  # fmt: skip
    said("fell back", sum(row.fallbacks for row in rows), 0)
    finish({"networks": [asdict(row) for row in rows]}, options.json)


if __name__ == "__main__":
    main()
