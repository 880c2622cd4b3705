# SPDX-License-Identifier: Apache-2.0
"""How much longer does a frame take over the wire than head and tail take in one process?

Loopback UDP, 65,536 bytes cross, one frame at a time, the server a process of its own. Bars over
head and tail in one process: the device in C++ 0.5 ms at the median and 1.5 ms at the 99th
percentile, the device in Python 1 ms at the median. Resident memory of a device for SqueezeNet's
head, beyond weights and arena: 15 MB in C++, 60 MB in Python. `--key` seals everything.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from peers import compiled, served

import splitc
from common import Others, finish, median, parser, said
from splitc.runtime.manifest import PartManifest, read_manifest
from splitc.send import Device
from splitc.wire.key_file import make_key
from splitc.zoo import build

FRAMES = 2000
CPP_P50_MS, CPP_P99_MS, PYTHON_P50_MS = 0.5, 1.5, 1.0
CPP_MB, PYTHON_MB = 15.0, 60.0


def in_process(bundle: Path, frames: int, x: Any) -> list[float]:
    """Milliseconds of head and tail, one after the other, here."""
    with splitc.Bundle.open(bundle).open_parts() as split:
        took: list[float] = []
        for _ in range(frames):
            start = time.perf_counter()
            split(x)
            took.append((time.perf_counter() - start) * 1e3)
    return took


def python_device(bundle: Path, to: str, key: bytes | None, frames: int, x: Any) -> list[float]:
    """Milliseconds of frames from Python."""
    with Device(bundle, to=to, key=key) as device:
        return [device(x).frame_s * 1e3 for _ in range(frames)]


def cpp_device(
    head: Path, to: str, key: Path | None, frames: int, x: Any, folder: Path
) -> dict[str, float]:
    """Percentiles of milliseconds of frames from the program without Python."""
    np.save(folder / "x.npy", x)
    command = [str(head / "splitc-run"), "--send", to, "--in-flight", "1"]
    command += ["--key", str(key)] if key else []
    command += ["--repeat", str(frames), str(folder / "x.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["frame_ms"]


def resident_mb(command: Sequence[str]) -> float:
    """Resident MB of a device that has sent some frames and waits."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(3)
    words = Path(f"/proc/{process.pid}/statm").read_text("ascii").split()
    process.terminate()
    process.wait()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def memory(folder: Path) -> dict[str, float]:
    """What devices of SqueezeNet's head take beside its weights and its arena."""
    made = splitc.compile(
        splitc.load(build("squeezenet")), cut="auto", head="host", tail="host", name="squeezenet",
        output=folder / "squeezenet.splitc", constraints=splitc.Constraints(min_depth=30),
    )  # fmt: skip
    part = read_manifest(made.path / "head", PartManifest)
    own = (part.weight_bytes + part.packed_bytes + part.activation_bytes) / 1e6
    spec = part.inputs[0]
    np.save(folder / "image.npy", np.zeros([extent or 0 for extent in spec.shape], spec.dtype))
    frames = ["--repeat", "100000", "--rate", "20"]
    with served("splitc", made.path) as to:
        cpp = [str(made.path / "head" / "splitc-run"), "--send", to, *frames]
        python = [sys.executable, "-c", "from splitc.cli import main; main()", "send",
                  str(made.path), "--to", to, "--input", str(folder / "image.npy")]  # fmt: skip
        found = {
            "C++": resident_mb([*cpp, str(folder / "image.npy")]) - own,
            "Python": resident_mb([*python, *frames]) - own,
        }
    said("C++ device, resident beyond weights and arena", found["C++"], CPP_MB, "MB")
    said("Python device, the same", found["Python"], PYTHON_MB, "MB")
    return found


def main() -> None:
    """Measure frames, then memory."""
    made = parser(__doc__ or "")
    made.add_argument("--key", action="store_true", help="seal everything")
    options = made.parse_args()
    frames = FRAMES // 10 if options.quick else FRAMES
    x = np.ones((1, 3, 32, 32), np.float32)
    others = Others()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = compiled(folder)
        path = folder / "key" if options.key else None
        key = make_key(path) if path else None
        with served("splitc", bundle, path) as to:
            local: list[list[float]] = []
            python: list[list[float]] = []
            cpp: list[dict[str, float]] = []
            for _ in range(3):
                local.append(in_process(bundle, frames // 3, x))
                python.append(python_device(bundle, to, key, frames // 3, x))
                cpp.append(cpp_device(bundle / "head", to, path, frames // 3, x, folder))
        base = median([median(each) for each in local])
        base99 = median([float(np.percentile(each, 99)) for each in local])
        print(f"head and tail in one process: p50 {base:.3f} ms, p99 {base99:.3f} ms")
        figures = {
            "C++ device, p50 more": median([each["p50"] for each in cpp]) - base,
            "C++ device, p99 more": median([each["p99"] for each in cpp]) - base99,
            "Python device, p50 more": median([median(each) for each in python]) - base,
            "Python device, p99 more":
                median([float(np.percentile(each, 99)) for each in python]) - base99,
        }  # fmt: skip
        bars = (CPP_P50_MS, CPP_P99_MS, PYTHON_P50_MS, float("inf"))
        for (what, value), bar in zip(figures.items(), bars, strict=True):
            said(what, value, bar, "ms")
        more = memory(folder)
    print(f"others took {others.share():.0%} of the processors")
    finish({**figures, **more}, options.json)


if __name__ == "__main__":
    main()
