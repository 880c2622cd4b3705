# SPDX-License-Identifier: Apache-2.0
"""How long does the exact cut of a large graph take, and against networkx on the whole of it?

Bars: 10,000 layers in 0.5 s, 100,000 in 6 s after loading, growth exponent 1.15 at most; a graph
that branches 1,000 ways at its input in 1 s; at 5,000 layers 20 times quicker than
`networkx.minimum_cut` on the same prices, with the same value.
"""

from __future__ import annotations

import gc
import math
import time
from typing import Any

import networkx

import splitc
from common import arguments, finish, median
from splitc.ir.graph import LayerGraph
from splitc.ir.text import parse_graph
from splitc.search.scenario import Scenario
from splitc_passes.cutters.min_cut import cheapest_cut

SCENARIO = Scenario.of(head="rpi4", tail="x86-64-v3", link=splitc.Link("20Mbit", rtt="5ms"))
nx: Any = networkx


def residual(layers: int) -> LayerGraph:
    """Blocks of conv, relu, conv, add, relu."""
    lines, x = ["%x = input() : 1x4x8x8"], "x"
    for b in range(layers // 5):
        lines += [
            f"%a{b} = conv(%{x}) {{params=64, flops={8192 + b}}} : 1x4x8x8",
            f"%r{b} = relu(%a{b}) {{flops=256}} : 1x4x8x8",
            f"%c{b} = conv(%r{b}) {{params=64, flops=8192}} : 1x4x8x8",
            f"%d{b} = add(%c{b}, %{x}) {{flops=256}} : 1x4x8x8",
            f"%e{b} = relu(%d{b}) {{flops=256}} : 1x4x8x8",
        ]
        x = f"e{b}"
    return parse_graph("\n".join(lines))


def branching(ways: int) -> LayerGraph:
    """So many branches of two layers from one input, joined, and two layers behind."""
    lines, ends = ["%x = input() : 1x3x224x224"], list[str]()
    for k in range(ways):
        flops = 4_000_000 + 1000 * k
        lines.append(f"%a{k} = conv(%x) {{params=7000, flops={flops}}} : 1x8x56x56")
        lines.append(f"%b{k} = conv(%a{k}) {{params=7000, flops={flops}}} : 1x8x56x56")
        ends.append(f"%b{k}")
    lines.append(f"%j = concat({', '.join(ends)}) : 1x{8 * ways}x56x56")
    lines.append("%p = averagepool(%j) {flops=5000} : 1x64")
    lines.append("%y = gemm(%p) {params=4000000, flops=9000000} : 1x1000")
    return parse_graph("\n".join(lines))


def whole(graph: LayerGraph) -> Any:
    """The whole problem as one flow network of networkx's: no layer kept on either side."""
    problem = SCENARIO.problem(graph)
    prices = problem.prices()
    (on_head, on_tail), link = prices.sites, prices.links[0, 1]
    net = nx.DiGraph()
    for i in range(len(graph)):
        if i < graph.input_count:
            net.add_edge("head", i)  # without a capacity: infinite
        else:
            net.add_edge("head", i, capacity=on_tail[i])
        net.add_edge(i, "tail", capacity=on_head[i])
        for j in graph.predecessors[i]:
            net.add_edge(i, j)
    for name, readers in graph.readers.items():
        if readers:
            net.add_edge(graph.producer[name], (name,), capacity=link.tensor[name] or 0)
            for reader in readers:
                net.add_edge((name,), reader)
    return net


def find_s(graph: LayerGraph) -> float:
    """Seconds of the whole search, prices and rows of the table included."""
    # The collector walks what a search makes, and not what the other graphs are made of.
    gc.collect()
    gc.freeze()
    begun = time.perf_counter()
    table = splitc.find_cuts(graph, scenario=SCENARIO)
    took = time.perf_counter() - begun
    gc.unfreeze()
    assert table.best.cut.is_proper
    return took


def against_networkx(graph: LayerGraph) -> tuple[float, float]:
    """Seconds of ours and of networkx's, of the same prices; values are compared."""
    prices = SCENARIO.problem(graph).prices()
    begun = time.perf_counter()
    _, proof = cheapest_cut(graph, prices, proper=False)
    ours = time.perf_counter() - begun
    net = whole(graph)
    begun = time.perf_counter()
    value, _ = nx.minimum_cut(net, "head", "tail")
    theirs = time.perf_counter() - begun
    # Of all cuts, that on the device alone crosses nothing: no round trip, which a flow has not.
    alone, once = sum(prices.sites[0]), prices.links[0, 1].once
    assert proof.value == min(alone, value + once), (proof.value, alone, value, once)
    return ours, theirs


def main() -> None:
    """Measure each in turn, several times."""
    options = arguments(__doc__ or "")
    rounds = 2 if options.quick else 5
    sizes = [1000, 10_000] if options.quick else [1000, 10_000, 100_000]
    graphs = {f"{size:,} layers, residual": residual(size) for size in sizes}
    ways = 200 if options.quick else 1000
    graphs[f"{ways:,} ways at the input"] = branching(ways)
    small = residual(1000 if options.quick else 5000)
    runs: dict[str, list[float]] = {name: [] for name in graphs}
    pairs: list[tuple[float, float]] = []
    for _ in range(rounds):
        for name, graph in graphs.items():
            runs[name].append(find_s(graph))
        pairs.append(against_networkx(small))
    found = {name: median(each) for name, each in runs.items()}
    for name, seconds in found.items():
        print(f"{name:30} {seconds:8.3f} s")
    names = list(found)
    growth = math.log(found[names[len(sizes) - 1]] / found[names[0]]) / math.log(
        sizes[-1] / sizes[0]
    )
    print(f"growth exponent {growth:.2f}")
    ours, theirs = (median([pair[k] for pair in pairs]) for k in (0, 1))
    print(
        f"{len(small):,} layers: {ours:.3f} s, networkx {theirs:.3f} s: {theirs / ours:.0f} times"
    )
    figures = {"seconds": found, "growth": growth, "ours_s": ours, "networkx_s": theirs}
    finish(figures, options.json)


if __name__ == "__main__":
    main()
