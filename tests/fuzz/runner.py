# SPDX-License-Identifier: Apache-2.0
"""Fuzz the runner with libFuzzer: `python -m tests.fuzz.runner packets --seconds 60`.

clang, its sanitizers and libFuzzer are Debian's (see .ci/run): zig's clang has no libFuzzer.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from splitc.scratch import scratch

ROOT = Path(__file__).parents[2]
TARGETS = ("packets", "part_manifest")


_TENSOR = {"name": "t", "dtype": "float32", "shape": [1, 8], "bytes": 32}
_MANIFEST = {
    "schema": 2, "part": "head-s0", "split": "0" * 64, "isa": "aarch64", "entry": "main",
    "format": "native", "model": "model.so", "inputs": [_TENSOR], "outputs": [_TENSOR],
    "files": {"model.so": {"bytes": 1, "sha256": "0" * 64}},
    "remote": [
        {
            "route": place, "name": f"t:{place}", "crosses": [_TENSOR], "results": [_TENSOR],
            "outputs": ["t"], "runs": ["head-s0", "head-s1"][: place + 1],
            "missing": [{"fill": "00", "scale": "rate", "unit": 2}],
            "expected": {"head_ms": 1, "tail_ms": 0.5, "link_ms": 1e3, "agreement": 0.75},
        }
        for place in range(2)
    ],
}  # fmt: skip
SEEDS = {"part_manifest": json.dumps(_MANIFEST).encode()}
"""What fuzzing begins with, where nothing random would get as far."""


class Fuzzed(NamedTuple):
    """What a run tried and how much of the code it reached.

    Args:
        runs: Inputs.
        edges: Edges of the control flow that they took.
        failure: The end of what libFuzzer printed where it found something, else "".
    """

    runs: int
    edges: int
    failure: str


def find_clang() -> str | None:
    """clang with libFuzzer, None where there is none."""
    for name in ("clang++", "clang++-14", "clang++-16", "clang++-19"):
        found = shutil.which(name)
        if found is not None:
            return found
    return None


def build(target: str, clang: str, folder: Path) -> Path:
    """The fuzz target as a program, with sanitizers of addresses and undefined behaviour."""
    headers = importlib.util.find_spec("tvm_ffi")
    assert headers is not None
    assert headers.origin is not None
    program = folder / target
    command = [
        clang, "-std=c++17", "-O1", "-g", "-fsanitize=fuzzer,address,undefined",
        "-fno-sanitize-recover=all", "-fno-omit-frame-pointer",
        f"-I{ROOT / 'targets' / 'splitc_targets' / 'runner'}",
        f"-I{Path(headers.origin).parent / 'include'}",
        str(Path(__file__).with_name(f"{target}.cc")), "-o", str(program),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return program


def fuzz(program: Path, corpus: Path, seconds: int, seed: int = 0) -> Fuzzed:
    """Let it run for so long; inputs that reach something new stay in the corpus."""
    # Of its memory, no single piece may be large: the most that the whole process had, which
    # libFuzzer can limit too, counts what this one had when it forked.
    if program.name in SEEDS:
        (corpus / "seed").write_bytes(SEEDS[program.name])
    command = [
        str(program), str(corpus), f"-max_total_time={seconds}", "-max_len=4096", "-timeout=60",
        "-rss_limit_mb=0", "-malloc_limit_mb=64", f"-artifact_prefix={corpus}-",
        "-print_final_stats=1",
    ]  # fmt: skip
    if seed:
        command.append(f"-seed={seed}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    runs = re.findall(r"stat::number_of_executed_units: (\d+)", done.stderr)
    edges = re.findall(r"cov: (\d+)", done.stderr)
    return Fuzzed(
        int(runs[-1]) if runs else 0,
        int(edges[-1]) if edges else 0,
        done.stderr[-3000:] if done.returncode else "",
    )


def main() -> int:
    """Fuzz one target."""
    parser = argparse.ArgumentParser(description="Fuzz the runner with libFuzzer.")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="folder with inputs that is added to")
    options = parser.parse_args()
    clang = find_clang()
    if clang is None:
        print("clang with libFuzzer is not installed: see .ci/run", file=sys.stderr)
        return 6
    with scratch() as folder:
        corpus = options.corpus or folder / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        found = fuzz(build(options.target, clang, folder), corpus, options.seconds)
    print(f"{options.target}: {found.runs} inputs in {options.seconds} s, {found.edges} edges")
    print(found.failure or "nothing found")
    return 1 if found.failure else 0


if __name__ == "__main__":
    sys.exit(main())
