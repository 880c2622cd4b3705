# SPDX-License-Identifier: Apache-2.0
"""How fast is the wire: a boundary into packets, and packets into a boundary?

Bars at 65 kB, each of `pack` (permute, cut into chunks, write headers) and `unpack` (permute back):
1 GB/s from Python, of float32 and of uint8, and 2 GB/s in the C++ runner. In the same rounds:
`memcpy` of the same bytes; `receive`, all that a server does with a frame's packets (check headers,
copy, unpack); sealing and opening.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from common import ROOT, Others, finish, median, parser
from splitc.arrays import Array
from splitc.cost.board import host_isa
from splitc.link.packets import PAYLOAD_BYTES
from splitc.runtime.manifest import Missing, TensorSpec
from splitc.wire.assembly import Assembly
from splitc.wire.boundary import Boundary
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import HEADER_BYTES
from splitc.wire.seal import Seal
from splitc_targets.link.toolchain import build_program

CASES = [
    ("float32", 65_536), ("uint8", 65_536), ("float32", 1_000_000), ("uint8", 1_000_000),
    ("float32", 4_096),
]  # fmt: skip
SEED = 7
GLIBC = "2.28"
"""The oldest that boards here have."""

RECEIVED_STRIDE = 2048
"""Bytes that lie between packets where a socket receives them."""


class Case:
    """One tensor, and what is done with it.

    Args:
        dtype: Its element type.
        nbytes: Its size.
    """

    def __init__(self, dtype: str, nbytes: int) -> None:
        count = nbytes // np.dtype(dtype).itemsize
        spec = TensorSpec(name="t", dtype=dtype, shape=(1, count), bytes=nbytes)
        self.nbytes = nbytes
        self.array: Array = np.random.default_rng(0).integers(0, 99, (1, count)).astype(dtype)
        self.copy = np.empty_like(self.array)
        self.boundary = Boundary([spec], PAYLOAD_BYTES, SEED, [Missing(scale="none")])
        self.assembly = Assembly(
            {0: self.boundary}, session=1, split=2, deadline_s=1.0, grace_s=0.01
        )
        sent = self.pack()
        block = np.zeros((len(sent), RECEIVED_STRIDE), np.uint8)
        block[:, : sent.block.shape[1]] = sent.block
        self.came = Datagrams(block, sent.lengths)
        self.rows = sent.block[:, HEADER_BYTES : HEADER_BYTES + PAYLOAD_BYTES].copy()
        self.all = np.ones(len(sent), np.bool_)
        self.frame = 0

    def memcpy(self) -> None:
        """Copy the tensor."""
        np.copyto(self.copy, self.array)

    def pack(self) -> Datagrams:
        """A frame's packets."""
        return self.boundary.pack([self.array], session=1, split=2, frame=0)

    def unpack(self) -> list[Array]:
        """The tensor of chunks that all came."""
        return self.boundary.unpack(self.rows, self.all)[0]

    def receive(self) -> list[Array]:
        """The tensor of packets as they come from a socket."""
        self.came.headers["frame"] = self.frame
        self.frame += 1
        (received,) = self.assembly.add(self.came, 0.0)
        return received.arrays

    def check(self) -> None:
        """What comes back is what was sent."""
        for (back,) in (self.unpack(), self.receive()):
            np.testing.assert_array_equal(back, self.array)

    def seal_and_open(self) -> None:
        """Packets sealed, and opened again, in their rows."""
        _, bad = self.seal.open(self.seal.seal(self.came))
        assert not bad

    @property
    def steps(self) -> dict[str, Callable[[], object]]:
        """What is timed."""
        steps: dict[str, Callable[[], object]] = {
            "memcpy": self.memcpy, "pack": self.pack, "unpack": self.unpack,
            "receive": self.receive,
        }  # fmt: skip
        if find_spec("cryptography") is not None:
            self.seal = Seal(bytes(32))
            steps["seal and open"] = self.seal_and_open
        return steps


def seconds(step: Callable[[], object], repeats: int) -> float:
    """Seconds of one call, the middle of some."""
    times: list[float] = []
    for _ in range(repeats):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return median(times)


def measured(rounds: int) -> dict[str, dict[str, float]]:
    """GB/s of each step of each case; the rounds of all steps take turns."""
    found: dict[str, dict[str, float]] = {}
    for dtype, nbytes in CASES:
        case = Case(dtype, nbytes)
        case.check()
        times: dict[str, list[float]] = {name: [] for name in case.steps}
        for _ in range(rounds):
            for name, step in case.steps.items():
                times[name].append(seconds(step, 20))
        found[f"{dtype} {nbytes}"] = {
            name: nbytes / median(each) / 1e9 for name, each in times.items()
        }
    return found


def measured_native(sizes: list[int]) -> dict[str, dict[str, float]]:
    """GB/s of the same in the C++ runner's code, of float32, from `wire_speed.cc`."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "wire_speed"
        build_program(ROOT / "benchmarks" / "wire_speed.cc", program, host_isa(), GLIBC)
        for nbytes in sizes:
            done = subprocess.run([program, str(nbytes)], check=True, capture_output=True)
            row = json.loads(done.stdout)
            names = ("memcpy", "pack", "unpack", "seal")
            found[f"C++ {nbytes}"] = {name: row[f"{name}_gbps"] for name in names}
    return found


def main() -> None:
    """Measure, and print GB/s."""
    options = parser(__doc__ or "").parse_args()
    others = Others()
    rows = measured(5 if options.quick else 25) | measured_native([65_536, 1_000_000])
    print(f"GB/s of values, {PAYLOAD_BYTES} bytes of them a packet")
    for name, row in rows.items():
        print(f"  {name:16}" + "".join(f"  {step} {rate:6.2f}" for step, rate in row.items()))
    print(f"others took {others.share():.0%} of the processors")
    finish({"gb_per_s": rows}, options.json)


if __name__ == "__main__":
    main()
