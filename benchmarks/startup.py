# SPDX-License-Identifier: Apache-2.0
"""How long do `splitc --help` and `splitc cuts resnet50.onnx` take, as whole processes?

Bars: 0.3 s and 3 s. Against `python -c pass` and `python -c 'import onnx'`, run in
turn with them, so that the machine's state cancels out.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import arguments, finish, median
from splitc import zoo

MAIN = "from splitc.cli import main; main()"


def seconds(command: list[str]) -> float:
    """Wall time of one run of a command."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Time the commands in turn."""
    options = arguments(__doc__ or "")
    network = "squeezenet" if options.quick else "resnet50"
    rounds = 3 if options.quick else 9
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{network}.onnx"
        path.write_bytes(zoo.build(network).SerializeToString())
        python = sys.executable
        commands = {
            "python -c pass": [python, "-c", "pass"],
            "python -c 'import onnx'": [python, "-c", "import onnx"],
            "splitc --help": [python, "-c", MAIN, "--help"],
            f"splitc cuts {network}.onnx": [python, "-c", MAIN, "cuts", str(path)],
        }
        for command in commands.values():
            seconds(command)
        runs: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                runs[name].append(seconds(command))
    medians = {name: median(values) for name, values in runs.items()}
    for name, value in medians.items():
        ratio = value / medians["python -c pass"]
        worst = max(runs[name])
        print(f"{name:28} median {value:6.3f} s  worst {worst:6.3f} s  {ratio:6.1f} x python")
    finish({"medians_s": medians, "rounds": rounds}, options.json)


if __name__ == "__main__":
    main()
