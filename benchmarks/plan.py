# SPDX-License-Identifier: Apache-2.0
"""How long does a sweep of three networks, 60 conditions and all cuts take, and what comes of it?

Bar: 3 s together, reading the networks left out. Prints what changes of the bandwidth cost where
the cut stays, on a Raspberry Pi 4 and a server with x86-64-v3, as modelled; beside VGG19's, the
headline of McNamee et al., "A Case for Adaptive Deep Neural Networks in Edge Computing", 2020,
arXiv:2008.01814: 50 to 10 Mbit/s, 14.307 s where the cut stays, 3.254 s where it moves.

--tables prints changes of the bandwidth, and of CPU and memory stress from 0 to 90 %, in Markdown.
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
BACK = (SLOW, FAST)
MOST = 0.9
"""The most stress of the grid."""


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


def shown(plan: ConditionPlan, factor: Factor) -> Iterator[Transition]:
    """The changes of one factor that the tables have: of the bandwidth from the quickest link and
    back to it, of stress from none to the most."""
    for one in transitions(plan.swept, factor):
        before, after = one.before, one.after
        if factor == "bandwidth":
            if before.bandwidth_bps == FAST or (before.bandwidth_bps, after.bandwidth_bps) == BACK:
                yield one
        elif max(before[:2]) == 0.0 and max(after[:2]) == MOST:
            yield one


def row(name: str, plan: ConditionPlan, factor: Factor, one: Transition) -> str:
    """A line of a table, in Markdown."""
    cuts, frames = plan.swept.cuts, one.break_even(REDEPLOY_S)
    before, after = one.before.bandwidth_bps / 1e6, one.after.bandwidth_bps / 1e6
    change = f"{before:g} → {after:g}" if factor == "bandwidth" else f"{after:g}"
    return (
        f"| {name} | {change} | {cuts[one.kept].name} | {one.kept_s * 1e3:.0f} | "
        f"{cuts[one.best].name} | {one.best_s * 1e3:.0f} | {100 * one.gain:.1f} % | "
        f"{'–' if frames is None else frames} |"
    )


def tables(plans: Mapping[str, ConditionPlan]) -> Iterator[str]:
    """Tables like the paper's III to V, in Markdown."""
    for factor in FACTORS:
        yield "| network | Mbit/s | kept cut | ms | best cut | ms | gain | frames |"
        yield "|---|---|---|---|---|---|---|---|"
        for name, plan in plans.items():
            for one in shown(plan, factor):
                yield row(name, plan, factor, one)
        yield ""


def plans_of(graphs: Mapping[str, LayerGraph], grid: Grid) -> dict[str, ConditionPlan]:
    """The plans of some networks."""
    return {name: planned(graph, grid) for name, graph in graphs.items()}


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
        plans = plans_of(graphs, grid)
        times.append(time.perf_counter() - start)
    for name, plan in plans.items():
        print(f"  {name:12} {plan.swept.kind}, {len(grid.points)} conditions")
    said("3 networks x 60 conditions x all cuts, first time", times[0], BAR_S, "s")
    said("the same again, median", median(times), BAR_S, "s")
    print_headlines(plans)
    print_routes(plans)
    if given.tables:
        print(*tables(plans), sep="\n")
    gains = {name: headline(plan).gain for name, plan in plans.items()}
    finish({"sweep_s": times, "gain_50_to_10": gains}, given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
