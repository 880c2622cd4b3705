# SPDX-License-Identifier: Apache-2.0
"""How long does the main job take, how much memory, and how large is the head?

Bars, ResNet50 on two cores with caches warm: a peak of 1,200 MB, a whole `head/` of 108 MB, and,
with `--against CHECKOUT`, which runs another version of splitc in turn with this one, half of its
time to compile for rpi4 and this machine and to verify. The first compile, with splitc's and
zig's caches empty, within 45 s. Every run is a process of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import ROOT, checkout_env, finish, median, parser, said
from splitc import zoo

MAIN = "from splitc.cli import main; main()"
STAGES: dict[str, tuple[str, str]] = {
    # What `auto` chooses, and the end of ResNet50's first residual stage.
    "auto": ("auto", "rpi4"),
    "first stage": ("n35", "rpi4"),
}


ROUNDS = 3

FIRST_S, PEAK_MB, HEAD_MB, SHARE = 45.0, 1200.0, 108.0, 0.5


def run(checkout: Path, *command: str, caches: Path | None = None) -> tuple[float, float]:
    """Seconds and peak resident MB of one `splitc` process and its children, largest first."""
    env = checkout_env(checkout)
    if caches is not None:
        env["SPLITC_CACHE_DIR"] = str(caches / "splitc")
        env["ZIG_GLOBAL_CACHE_DIR"] = str(caches / "zig")
    start = time.perf_counter()
    # Elsewhere than in a checkout, which would be imported before what PYTHONPATH says.
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *command],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, cwd=tempfile.gettempdir(),
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"splitc {' '.join(command)} failed")
    return time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e6


def size_mb(folder: Path) -> float:
    """Megabytes of all files below a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


def measured(
    checkout: Path, model: Path, cut: str, target: str
) -> tuple[float, float, float, float]:
    """Seconds to compile and to verify, peak MB of either, MB of the head."""
    bundle = model.with_suffix(".splitc")
    command = ("compile", str(model), "-o", str(bundle), "--cut", cut, "--target", target)
    compiling, peak = run(checkout, *command)
    verifying, verify_peak = run(checkout, "verify", str(bundle))
    head = size_mb(bundle / "head")
    shutil.rmtree(bundle)
    return compiling, verifying, max(peak, verify_peak), head


def main() -> None:
    """Compile and verify, several times, at the automatic cut and after the first stage."""
    made = parser(__doc__ or "")
    made.add_argument("--against", type=Path, metavar="CHECKOUT", help="another version of splitc")
    options = made.parse_args()
    network = "squeezenet" if options.quick else "resnet50"
    stages = {"auto": STAGES["auto"]} if options.quick else STAGES
    sides = {"this version": ROOT}
    if options.against:
        sides["the other"] = options.against.resolve()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{network}.onnx"
        path.write_bytes(zoo.build(network).SerializeToString())
        bundle = path.with_suffix(".splitc")
        command = ("compile", str(path), "-o", str(bundle))
        first, _ = run(ROOT, *command, caches=Path(folder) / "caches")
        print(f"{network}, first compile, empty caches:")
        said("compile", first, FIRST_S, "s")
        figures["first"] = {"compile_s": first}
        for checkout in sides.values():
            shutil.rmtree(bundle)
            run(checkout, *command)  # What it keeps in the user's caches is there from now on.
        shutil.rmtree(bundle)
        for name, (cut, target) in stages.items():
            runs: dict[str, list[tuple[float, ...]]] = {side: [] for side in sides}
            for _ in range(1 if options.quick else ROUNDS):
                for side, checkout in sides.items():
                    runs[side].append(measured(checkout, path, cut, target))
            for side, found in runs.items():
                compiling, verifying, peak, head = (
                    median(list(k)) for k in zip(*found, strict=True)
                )
                print(f"{network}, cut {name} ({cut}), {side}, medians of {len(found)}:")
                print(f"  compile and link {compiling:.1f} s, verify {verifying:.1f} s, "
                      f"together {compiling + verifying:.1f} s")  # fmt: skip
                said("peak memory", peak, PEAK_MB, "MB")
                said("head/", head, HEAD_MB, "MB")
                figures[f"{name}, {side}"] = {
                    "compile_s": compiling, "verify_s": verifying, "peak_mb": peak,
                    "head_mb": head,
                }  # fmt: skip
            if options.against:
                pairs = zip(runs["this version"], runs["the other"], strict=True)
                share = median([sum(a[:2]) / sum(b[:2]) for a, b in pairs])
                said("time of the other's, median of pairs", share, SHARE, "")
                figures[f"{name}, share"] = {"share": share}
    finish(figures, options.json)


if __name__ == "__main__":
    main()
