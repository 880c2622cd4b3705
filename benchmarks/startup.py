# SPDX-License-Identifier: Apache-2.0
"""How long do `splitc --help` and `splitc cuts resnet50.onnx` take, as whole processes?

Bars: 0.3 s, and 1.5 times the bare import of Typer and Rich; 3 s, and with `--against CHECKOUT`
0.6 of the time of that version. Run in turn with them, and with `python -c pass` and
`python -c 'import onnx'`, so that the machine's state cancels out.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import ROOT, checkout_env, finish, median, parser, said
from splitc import zoo

MAIN = "from splitc.cli import main; main()"


BARE = "python -c 'import typer, rich'"
HELP_SHARE, CUTS_SHARE = 1.5, 0.6


def seconds(command: list[str], checkout: Path = ROOT) -> float:
    """Wall time of one run of a command, splitc that of a checkout."""
    start = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=checkout_env(checkout), cwd=tempfile.gettempdir(),
    )  # fmt: skip
    return time.perf_counter() - start


def main() -> None:
    """Time the commands in turn."""
    made = parser(__doc__ or "")
    made.add_argument("--against", type=Path, metavar="CHECKOUT", help="another version of splitc")
    options = made.parse_args()
    network = "squeezenet" if options.quick else "resnet50"
    rounds = 3 if options.quick else 9
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{network}.onnx"
        path.write_bytes(zoo.build(network).SerializeToString())
        python = sys.executable
        commands = {
            "python -c pass": [python, "-c", "pass"],
            "python -c 'import onnx'": [python, "-c", "import onnx"],
            BARE: [python, "-c", "import typer, rich"],
            "splitc --help": [python, "-c", MAIN, "--help"],
            f"splitc cuts {network}.onnx": [python, "-c", MAIN, "cuts", str(path)],
        }
        cuts = [*commands][-1]
        sides = dict.fromkeys(commands, ROOT)
        if options.against:
            commands["the same of the other"] = commands[cuts]
            sides["the same of the other"] = options.against.resolve()
        for name, command in commands.items():
            seconds(command, sides[name])
        runs: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                runs[name].append(seconds(command, sides[name]))
    medians = {name: median(values) for name, values in runs.items()}
    for name, value in medians.items():
        ratio = value / medians["python -c pass"]
        worst = max(runs[name])
        print(f"{name:28} median {value:6.3f} s  worst {worst:6.3f} s  {ratio:6.1f} x python")
    said("splitc --help, times the import", medians["splitc --help"] / medians[BARE], HELP_SHARE)
    if options.against:
        share = medians[cuts] / medians["the same of the other"]
        said("splitc cuts, of the other's time", share, CUTS_SHARE)
    finish({"medians_s": medians, "rounds": rounds}, options.json)


if __name__ == "__main__":
    main()
