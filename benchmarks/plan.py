# SPDX-License-Identifier: Apache-2.0
"""How long does a sweep of three networks, 60 conditions and all cuts take, and what comes of it?

Bar: 3 s together, reading the networks left out. Prints what changes of the bandwidth cost where
the cut stays, on a Raspberry Pi 4 and a server with x86-64-v3, as modelled; beside VGG19's, the
headline of McNamee et al., "A Case for Adaptive Deep Neural Networks in Edge Computing", 2020,
arXiv:2008.01814: 50 to 10 Mbit/s, 14.307 s where the cut stays, 3.254 s where it moves.

--tables prints the changes of bandwidth, CPU and memory stress as Markdown, for docs/adaptive.md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import nets
from common import ROOT, finish, median, parser, said
from splitc import LayerGraph, Link
from splitc.search.condition_plan import ConditionPlan, plan_for_conditions
from splitc.search.grid import Grid, Point, read_grid
from splitc.search.transitions import FACTORS, Factor, Transition, transition, transitions

NETWORKS: Mapping[str, Callable[[], LayerGraph]] = {
    "VGG19": nets.vgg19,
    "ResNet50": partial(nets.resnet50, stride_in_3x3=True),
    "MobileNetV2": partial(nets.mobilenet_v2, expand_first=False),
}
"""The common forms; layers are named after what they do and where they stand."""
PAPER_KEPT_S, PAPER_MOVED_S = 14.307, 3.254
REDEPLOY_S = 10.0
"""What moving costs where head and tail are deployed again: an assumption, to count frames by."""
BAR_S = 3.0
FAST, SLOW = 50e6, 10e6


def planned(graph: LayerGraph, grid: Grid) -> ConditionPlan:
    """The plan of one network."""
    link = Link("50Mbit", rtt="5ms")
    return plan_for_conditions(graph, grid, head="rpi4", tail="x86-64-v3", link=link)


def headline(plan: ConditionPlan, cpu: float = 0.0) -> Transition:
    """50 to 10 Mbit/s."""
    return transition(plan.swept, Point(cpu, 0.0, FAST), Point(cpu, 0.0, SLOW))


def print_headlines(plans: Mapping[str, ConditionPlan]) -> None:
    """What staying costs when the link slows down, beside the paper's."""
    print("50 -> 10 Mbit/s, device idle")
    for name, plan in plans.items():
        one, cuts = headline(plan), plan.swept.cuts
        print(
            f"  {name:12} kept {cuts[one.kept].name:12} {one.kept_s:7.3f} s, moved to "
            f"{cuts[one.best].name:12} {one.best_s:7.3f} s: {100 * one.gain:5.2f} %"
        )
    gain = 1 - PAPER_MOVED_S / PAPER_KEPT_S
    print(
        f"  {'the paper':12} kept {'':12} {PAPER_KEPT_S:7.3f} s, moved to {'':12} "
        f"{PAPER_MOVED_S:7.3f} s: {100 * gain:5.2f} % (VGG19)"
    )


def print_routes(plans: Mapping[str, ConditionPlan]) -> None:
    """What a bundle of a few cuts loses against the best cut of each condition."""
    print("routes of a bundle, mean regret over the grid")
    for name, plan in plans.items():
        how = "exact" if plan.chosen.exact else "greedy"
        names = ", ".join(plan.names)
        print(f"  {name:12} {100 * plan.regret_share:6.3f} % ({how}): {names}")


def rows(plan: ConditionPlan, factor: Factor) -> Iterator[str]:
    """The changes of one factor that start or end where the device is idle, as Markdown."""
    cuts, idle = plan.swept.cuts, factor == "bandwidth"
    for one in transitions(plan.swept, factor):
        ends = min(one.before[:2]), max(one.after[:2])
        if not idle and (ends[0] > 0 or max(one.before[:2]) > 0 or ends[1] < 0.9):
            continue
        frames = one.break_even(REDEPLOY_S)
        change = f"{one.before.bandwidth_bps / 1e6:g} → {one.after.bandwidth_bps / 1e6:g}"
        if not idle:
            number = Point._fields.index(factor)
            change = f"{100 * one.before[number]:g} → {100 * one.after[number]:g} %, "
            change += f"{one.after.bandwidth_bps / 1e6:g} Mbit/s"
        yield (
            f"| {change} | {cuts[one.kept].name} | {one.kept_s * 1e3:.1f} | "
            f"{cuts[one.best].name} | {one.best_s * 1e3:.1f} | {100 * one.gain:.1f} % | "
            f"{'–' if frames is None else f'{frames:,}'} |"
        )


def print_tables(plans: Mapping[str, ConditionPlan]) -> None:
    """Tables like the paper's III to V."""
    heads: dict[Factor, str] = {
        "bandwidth": "Mbit/s", "cpu": "CPU stress, link", "memory": "memory stress, link",
    }  # fmt: skip
    for name, plan in plans.items():
        for factor in FACTORS:
            print(f"\n{name}, {factor}\n")
            print(f"| {heads[factor]} | kept cut | ms | best cut | ms | gain | frames |")
            print("|---|---|---|---|---|---|---|")
            for row in rows(plan, factor):
                print(row)


def main() -> int:
    options = parser(__doc__ or "")
    options.add_argument("--tables", action="store_true", help="print Markdown tables too")
    given = options.parse_args()
    grid = read_grid(ROOT / "examples" / "conditions.toml")
    graphs = {name: made() for name, made in NETWORKS.items()}
    times: list[float] = []
    plans: dict[str, ConditionPlan] = {}
    for _ in range(1 if given.quick else 5):
        start = time.perf_counter()
        plans = {name: planned(graph, grid) for name, graph in graphs.items()}
        times.append(time.perf_counter() - start)
    for name, plan in plans.items():
        print(f"  {name:12} {plan.swept.kind}, {len(grid.points)} conditions")
    said("3 networks x 60 conditions x all cuts, first time", times[0], BAR_S, "s")
    said("the same again, median", median(times), BAR_S, "s")
    print_headlines(plans)
    print_routes(plans)
    if given.tables:
        print_tables(plans)
    gains = {name: headline(plan).gain for name, plan in plans.items()}
    finish({"sweep_s": times, "gain_50_to_10": gains}, given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
