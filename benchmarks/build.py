# SPDX-License-Identifier: Apache-2.0
"""How long does `splitc build` of 6 networks for 2 boards take, and again with nothing changed?

Bars: with `--against CHECKOUT`, at most 0.7 of the time of the same compiles one after another
by that version of splitc, in turn with this one; the second build at most 2 s. Every run is a
process of its own, caches of both are warm.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from main_job import run

from common import ROOT, Others, finish, median, parser, said
from splitc import zoo

NETWORKS = (
    "squeezenet", "shufflenet", "inception_v1", "densenet121", "inception_v2", "resnet50",
)  # fmt: skip
BOARDS = ("rpi4", "rpi5")
ROUNDS = 3
SHARE, AGAIN_S = 0.7, 2.0


def build_file(folder: Path, networks: tuple[str, ...]) -> Path:
    """A file that says to build each network for each board."""
    file = folder / "splitc.toml"
    names = ", ".join(f'"{name}.onnx"' for name in networks)
    boards = ", ".join(f'"{board}"' for board in BOARDS)
    file.write_text(f"[[bundle]]\nmodel = [{names}]\ntarget = [{boards}]\n", "utf-8")
    return file


def one_after_another(checkout: Path, folder: Path, networks: tuple[str, ...]) -> float:
    """Seconds of a compile for each network and board."""
    taken = 0.0
    for name in networks:
        for board in BOARDS:
            bundle = folder / "alone.splitc"
            command = ("compile", str(folder / f"{name}.onnx"), "-t", board, "-o", str(bundle))
            taken += run(checkout, *command)[0]
            shutil.rmtree(bundle)
    return taken


def built(folder: Path, file: Path) -> tuple[float, float]:
    """Seconds of a build, and of one with nothing changed."""
    for path in (*folder.glob("*.splitc"), folder / ".splitc-builds"):
        shutil.rmtree(path, ignore_errors=True)
    return run(ROOT, "build", str(file))[0], run(ROOT, "build", str(file))[0]


def main() -> None:
    """Build everything, in turn with the compiles one after another."""
    made = parser(__doc__ or "")
    made.add_argument("--against", type=Path, metavar="CHECKOUT", help="another version of splitc")
    options = made.parse_args()
    networks = NETWORKS[:2] if options.quick else NETWORKS
    other = options.against.resolve() if options.against else ROOT
    others = Others()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for name in networks:
            (folder / f"{name}.onnx").write_bytes(zoo.build(name).SerializeToString())
        file = build_file(folder, networks)
        built(folder, file)
        one_after_another(other, folder, networks[:1])
        runs: list[tuple[float, float, float]] = []
        for _ in range(1 if options.quick else ROUNDS):
            alone = one_after_another(other, folder, networks)
            runs.append((alone, *built(folder, file)))
    alone, together, again = (median(list(each)) for each in zip(*runs, strict=True))
    share = median([each[1] / each[0] for each in runs])
    print(f"{len(networks)} networks for {len(BOARDS)} boards, medians of {len(runs)}:")
    print(f"  one after another {alone:.1f} s, splitc build {together:.1f} s")
    said("time of one after another, median of pairs", share, SHARE)
    said("splitc build with nothing changed", again, AGAIN_S, "s")
    print(f"  others took {others.share():.0%} of the processors")
    figures: dict[str, Any] = {
        "one_after_another_s": alone, "build_s": together, "share": share, "again_s": again,
    }  # fmt: skip
    finish(figures, options.json)


if __name__ == "__main__":
    main()
