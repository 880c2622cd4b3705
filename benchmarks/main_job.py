# SPDX-License-Identifier: Apache-2.0
"""How long does the main job take, how much memory, and how large is the head?

Bars, ResNet50 on two cores with caches warm: compiled, linked and verified in under 25 s
with a peak under 3 GB; `head/` cut at the first stage under 10 MB with the runtime
libraries. The first compile, with splitc's and zig's caches empty, within 45 s, fetching
TVM's libraries through pip included. Every run is a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import arguments, finish, median
from splitc import zoo

MAIN = "from splitc.cli import main; main()"
STAGES: dict[str, tuple[str, str]] = {
    # What `auto` chooses, and the end of ResNet50's first residual stage.
    "auto": ("auto", "rpi4"),
    "first stage": ("n35", "rpi4"),
}


FIRST_S = 45.0


def run(caches: Path, *command: str) -> tuple[float, float]:
    """Seconds and peak resident MB of one `splitc` process and its children, largest first."""
    env = {
        **os.environ,
        "SPLITC_CACHE_DIR": str(caches / "splitc"),
        "ZIG_GLOBAL_CACHE_DIR": str(caches / "zig"),
    }
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *command],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"splitc {' '.join(command)} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def size_mb(folder: Path) -> float:
    """Megabytes of all files below a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


def main() -> None:
    """Compile and verify, several times, at the automatic cut and after the first stage."""
    options = arguments(__doc__ or "")
    network = "squeezenet" if options.quick else "resnet50"
    rounds = 1 if options.quick else 3
    stages = {"auto": STAGES["auto"]} if options.quick else STAGES
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{network}.onnx"
        path.write_bytes(zoo.build(network).SerializeToString())
        bundle = Path(folder) / f"{network}.splitc"
        compile_ = ("compile", str(path), "-o", str(bundle))
        caches = Path(folder) / "caches"
        first, _ = run(caches, *compile_)
        met = "met" if first <= FIRST_S else "missed"
        print(f"{network}, first compile, empty caches: {first:.1f} s ({FIRST_S:g}: {met})")
        figures["first"] = {"compile_s": first}
        for name, (cut, target) in stages.items():
            runs: list[tuple[float, float, float]] = []
            for _ in range(rounds):
                compiling, peak = run(caches, *compile_, "--cut", cut, "--target", target)
                verifying, verify_peak = run(caches, "verify", str(bundle))
                runs.append((compiling, verifying, max(peak, verify_peak)))
            compiling, verifying, peak = (median([r[k] for r in runs]) for k in range(3))
            head = size_mb(bundle / "head")
            print(f"{network}, cut {name} ({cut}), {rounds} run(s), medians:")
            print(f"  compile and link {compiling:6.1f} s, verify {verifying:5.1f} s, "
                  f"together {compiling + verifying:6.1f} s")  # fmt: skip
            print(f"  peak memory {peak:7.0f} MB, head/ {head:6.1f} MB with runtime libraries")
            figures[name] = {
                "compile_s": compiling, "verify_s": verifying, "peak_mb": peak, "head_mb": head,
            }  # fmt: skip
    finish(figures, options.json)


if __name__ == "__main__":
    main()
