# SPDX-License-Identifier: Apache-2.0
"""Is the compiled code as quick as another version's?

Every network compiled for this machine by this splitc and by that in `--against CHECKOUT`, each
run by its own benchmarks/worker.py, in turn, on one thread and on all. Bars: geometric mean of
the ratios of medians 1.01, none over 1.05.
"""

from __future__ import annotations

import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from networks import NAMES
from sides import Network, Worker, in_turn, prepare

from common import ROOT, Others, finish, median, numbers, parser, some_of

MEAN_BAR, WORST_BAR = 1.01, 1.05
QUICK = ["squeezenet"]


def keyword(checkout: Path) -> str:
    """What a checkout's worker calls the place it compiles to: once it was a library alone."""
    text = (checkout / "benchmarks" / "worker.py").read_text("utf-8")
    return "part" if "board: str, part: str" in text else "library"


def compiled(checkout: Path, network: Network, folder: Path) -> dict[str, str]:
    """Where a checkout has compiled the network to, as its worker is told to load it."""
    name = keyword(checkout)
    folder.mkdir()
    place = {name: str(folder / ("model.so" if name == "library" else "part"))}
    with Worker("splitc", 2, checkout) as worker:
        worker.ask("compile", model=str(network.simplified), board="host", **place)
    return place


def compare(
    network: Network, places: dict[Path, dict[str, str]], threads: int, quick: bool
) -> float:  # fmt: skip
    """This version's median over the other's, the second: the middle of several rounds."""
    with ExitStack() as stack:
        sides: list[Worker] = []
        for checkout, place in places.items():
            sides.append(stack.enter_context(Worker("splitc", threads, checkout)))
            sides[-1].ask("load", inputs=str(network.inputs), **place)
        rounds = in_turn(*sides, rounds=3 if quick else 9, batch_s=0.1 if quick else 0.5)
        return median([median(a) / median(b) for a, b in rounds])


def main() -> None:
    """Compare every network at every number of threads."""
    made = parser(__doc__ or "")
    made.add_argument("--against", type=Path, required=True, metavar="CHECKOUT")
    made.add_argument("--networks", type=some_of(NAMES), metavar="A,B", help=", ".join(NAMES))
    made.add_argument("--threads", type=numbers, default=[1, 2], metavar="1,2")
    options = made.parse_args()
    other = options.against.resolve()
    rows: list[dict[str, Any]] = []
    others = Others()
    for name in options.networks or (QUICK if options.quick else NAMES):
        with tempfile.TemporaryDirectory() as made_here:
            network = prepare(name, Path(made_here))
            places = {
                checkout: compiled(checkout, network, Path(made_here) / side)
                for side, checkout in (("this", ROOT), ("other", other))
            }
            for threads in options.threads:
                ratio = compare(network, places, threads, options.quick)
                rows.append({"network": name, "threads": threads, "ratio": ratio})
                print(f"{name:20} {threads} thread(s)  {ratio:.3f}", flush=True)
    for threads in options.threads:
        ratios = {row["network"]: row["ratio"] for row in rows if row["threads"] == threads}
        mean, worst = (
            statistics.geometric_mean(ratios.values()),
            max(ratios, key=lambda n: ratios[n]),
        )
        met = "met" if mean <= MEAN_BAR and ratios[worst] <= WORST_BAR else "missed"
        bars = f"bars {MEAN_BAR}, {WORST_BAR}: {met}"
        print(f"threads {threads}: {len(ratios)} networks, geometric mean {mean:.3f}, worst "
              f"{ratios[worst]:.3f} ({worst}); {bars}")  # fmt: skip
    print(f"others took {others.share():.0%} of the processors")
    finish({"rows": rows}, options.json)


if __name__ == "__main__":
    main()
