# SPDX-License-Identifier: Apache-2.0
"""Is the cut that is predicted to be best the best one, measured?

    python benchmarks/cut_quality.py [--networks A,B] [--compile-only | --score]

Of every network each cut after a layer that no edge passes by is compiled, head and tail, and
measured on this machine; so are all on the device and all on the server. The device is one thread,
its times and predictions times a stated factor; the server is all threads. The link's time is
computed, the same for both sides. Bars: regret of the chosen cut 3 % in the median and 10 % at
worst over networks and links, Kendall's tau of predicted and measured order 0.9 in the mean,
predicted times of parts 12 % off in the mean. A part that takes less than a hundredth of the whole
network counts with that, so that a microsecond more of a tail of two is no error of 50 %.

What was compiled and measured stays in the folder `--parts`: what is there is not compiled again,
and `--score` holds the predictions of today against the times of then.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import msgspec
from cut_list import SIDES, read_side
from cut_measuring import measure
from cut_parts import compile_parts, compiler_digest, device_board, server_board
from cut_score import PartError, Score
from cut_times import Cuts, Slowed, Times
from networks import NAMES, build

import splitc
from common import Others, finish, parser, said, some_of
from splitc import zoo
from splitc.cache import cache_dir
from splitc.cost.topology import DEVICE, cost_model
from splitc.ir.model import Network
from splitc.link.link import LINKS
from splitc.search.scenario import Scenario

MEASURED = (*zoo.NAMES, "mobilenet_v2", "resnet18", "efficientnet_b0")
QUICK = ("squeezenet", "shufflenet")
OVER = ("lte", "wifi", "wifi5", "ethernet")
SLOWER = 8.0
"""The device's times over those of one thread here: about what a Raspberry Pi 4 takes."""
REGRET_MEDIAN, REGRET_WORST, TAU_MEAN, ERROR_MEAN = 3.0, 10.0, 0.9, 12.0


def scenario(link: str, slower: float) -> Scenario:
    """One slowed thread of this machine, and all of it, with a link between."""
    head = Slowed(cost_model(device_board()), slower)
    return Scenario.of(head=head, tail=server_board(), link=LINKS[link])


def compiled(networks: Mapping[str, Network], parts: Path) -> dict[str, dict[str, Path]]:
    """The folders of every network's parts, compiled where they are not there."""
    say = partial(print, " ", flush=True)
    folders = {name: compile_parts(name, each, parts, say) for name, each in networks.items()}
    for name, of in folders.items():
        if any(read_side(folder).compiler != compiler_digest() for folder in of.values()):
            print(f"  {name}: compiled when splitc's code was another")
    return folders


def times_file(parts: Path, network: str) -> Path:
    """Where a network's measured times are kept."""
    return parts / f"{network}.times.json"


def keep_times(parts: Path, times: Times) -> None:
    """Write a network's measured times."""
    written = msgspec.json.format(msgspec.json.encode(times))
    times_file(parts, times.network).write_bytes(written)


def read_times(parts: Path, network: str) -> Times:
    """Times that were kept."""
    kept = times_file(parts, network)
    if not kept.is_file():
        raise SystemExit(f"{network} was not measured: there is no {kept}")
    return msgspec.json.decode(kept.read_bytes(), type=Times)


def print_calm(times: Iterable[Times]) -> None:
    """How many rounds count, of the device and of the server."""
    for one in times:
        device, server = (len(one.calm(side)) for side in SIDES)
        rounds = len(one.before[DEVICE])
        print(f"  {one.network}: {device} and {server} of {rounds} rounds undisturbed")


def print_scores(scores: Sequence[Score]) -> None:
    """A line for each network and link, worst first."""
    print(f"{'network':16}{'link':9}{'chosen':18}{'best':18}{'regret':>7}{'tau':>6}{'again':>6}")
    for one in sorted(scores, key=lambda score: (-score.regret, score.tau)):
        print(
            f"{one.network:16}{one.link:9}{one.chosen[:17]:18}{one.best[:17]:18}"
            f"{one.regret:7.1%}{one.tau:6.2f}{one.tau_again:6.2f}"
        )


def print_errors(errors: Sequence[PartError]) -> None:
    """A line for each network and side, worst first."""
    print(f"{'network':16}{'side':10}{'parts':>6}{'error':>8}{'predicted / measured':>22}")
    for one in sorted(errors, key=lambda error: -error.error):
        print(f"{one.network:16}{one.side:10}{one.parts:6}{one.error:8.1%}{one.bias:22.2f}")


def print_bars(scores: Sequence[Score], errors: Sequence[PartError]) -> dict[str, float]:
    """The figures that have bars."""
    regrets = [100 * one.regret for one in scores]
    parts = sum(one.parts for one in errors)
    found = {
        "regret_median_percent": statistics.median(regrets),
        "regret_worst_percent": max(regrets),
        "tau_mean": statistics.fmean(one.tau for one in scores),
        "tau_again_mean": statistics.fmean(one.tau_again for one in scores),
        "error_mean_percent": 100 * sum(one.error * one.parts for one in errors) / parts,
    }
    said("regret, median", found["regret_median_percent"], REGRET_MEDIAN, "%")
    said("regret, worst", found["regret_worst_percent"], REGRET_WORST, "%")
    said("Kendall tau, mean", found["tau_mean"], TAU_MEAN, least=True)
    print(f"  {'the same of two halves of the measurements':46} {found['tau_again_mean']:8.2f}")
    said(f"error of the times of {parts} parts, mean", found["error_mean_percent"], ERROR_MEAN, "%")
    return found


def main() -> None:
    """Compile, measure and score, or what of that was asked for."""
    asked = parser(__doc__ or "")
    asked.add_argument("--networks", type=some_of(NAMES), help="some, with commas between")
    asked.add_argument("--parts", type=Path, default=cache_dir() / "cut-quality", metavar="FOLDER",
                       help="where what is compiled and measured is kept")  # fmt: skip
    asked.add_argument("--rounds", type=int, default=8, help="that count, of each part")
    asked.add_argument("--minutes", type=float, default=18.0,
                       help="of all networks together: no round begins later")  # fmt: skip
    asked.add_argument("--slower", type=float, default=SLOWER, help="the device's factor")
    stage = asked.add_mutually_exclusive_group()
    stage.add_argument("--compile-only", action="store_true", help="measure later")
    stage.add_argument("--score", action="store_true", help="of the times measured before")
    options = asked.parse_args()
    names = options.networks or (QUICK if options.quick else MEASURED)
    networks = {name: splitc.load(build(name)) for name in names}
    if not options.score:
        folders = compiled(networks, options.parts)
        if options.compile_only:
            return
        rounds, minutes = (3, 1.0) if options.quick else (options.rounds, options.minutes)
        busy, keep = Others(), partial(keep_times, options.parts)
        # One network after another: a dozen in memory leave no large pages for the last.
        for name, of in folders.items():
            measure(name, of, rounds, minutes / len(folders), keep)
        print(f"  others took {busy.share():.0%}")
    times = {name: read_times(options.parts, name) for name in names}
    print_calm(times.values())
    cuts = [Cuts.of(name, network, times[name]) for name, network in networks.items()]
    scores = [
        Score.of(
            network.name, link, network.options(scenario(link, options.slower), options.slower)
        )
        for network in cuts
        for link in OVER
    ]
    any_link = scenario(OVER[0], options.slower)
    errors = [one for each in cuts for one in each.errors(any_link, options.slower)]
    print_scores(scores)
    print_errors(errors)
    print(f"device: one thread, times {options.slower:g}; {any_link.head.label}")
    left_out = [each.left_out(scenario(link, options.slower)) for each in cuts for link in OVER]
    several = sum(map(bool, left_out))
    print(f"find_cuts takes a cut across several tensors in {several} of {len(left_out)},")
    print(f"which is predicted to take up to {max(left_out):.1%} less")
    figures = print_bars(scores, errors)
    finish(
        {"slower": options.slower, **figures, "left_out": left_out,
         "scores": [asdict(one) for one in scores],
         "errors": [asdict(one) for one in errors]},
        options.json,
    )  # fmt: skip


if __name__ == "__main__":
    main()
