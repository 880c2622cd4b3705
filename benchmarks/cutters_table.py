# SPDX-License-Identifier: Apache-2.0
"""What does each cutter pick, and why? Three networks, a Raspberry Pi 4, three links.

    python benchmarks/cutters_table.py            # prints the section
    python benchmarks/cutters_table.py --write    # and puts it into docs/cuts.md, with pictures

Nothing is measured: figures are what `splitc cuts` predicts. The cutter `i-split` is left out, as
importance of untrained weights means nothing.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import networks

import splitc
from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.link.link import LINKS
from splitc.reporting.words import short_bytes, short_ms
from splitc.search.cutter import Cutter
from splitc.search.pareto_plot import plot_front
from splitc.search.placing import find_placement
from splitc.search.scenario import Scenario
from splitc.search.table import CutTable

DOCS = Path(__file__).resolve().parent.parent / "docs"
NAMES = {"resnet50": "ResNet50", "mobilenet_v2": "MobileNetV2", "densenet121": "DenseNet121"}
DEVICE, EDGE, SERVER = "rpi4", "rpi5", "x86-64-v3"
WAYS = ("lte", "wifi", "wifi5")
PICTURED = "wifi"
LEAVE = 0.5
CLOSE_MS = 0.05
_EXIT = re.compile("leaving at '(.*)'")
BEGIN, END = "<!-- picks: benchmarks/cutters_table.py -->", "<!-- end of picks -->"


@dataclass(frozen=True)
class Pick:
    """What a cutter takes: the cut, and the figure that it minimises, in words."""

    where: str
    says: str

    def __str__(self) -> str:
        return f"{self.where}: {self.says}"


def scenario(way: str) -> Scenario:
    """The Pi and the server over a link."""
    return Scenario.of(head=DEVICE, tail=SERVER, link=splitc.Link.named(way))


def named(cut: Cut) -> str:
    """A cut as a table has it: its layers, and the operator of a single one."""
    names = ", ".join(f"`{name}`" for name in cut.layers)
    return f"{names} ({cut.graph.layer(cut.layers[0]).op})" if len(cut.layers) == 1 else names


def exit_of(graph: LayerGraph) -> str:
    """A layer on every path behind about half of the arithmetic, where an exit may be."""
    half, done = sum(layer.flops for layer in graph.layers) / 2, 0
    for i, layer in enumerate(graph.layers):
        done += layer.flops
        if done >= half and i in graph.dominators and i < len(graph) - 1:
            return layer.name
    raise SystemExit("no layer on every path behind half of the arithmetic")


def deadline(graph: LayerGraph) -> int:
    """Milliseconds that the whole network just misses over the link that is pictured."""
    table = splitc.find_cuts(graph, scenario=scenario(PICTURED))
    return int(0.98 * table.best.cost.latency_s * 1e3)


def picked(graph: LayerGraph, way: str, text: str, objective: str = "latency") -> Pick:
    """What a cutter takes over a link."""
    given = replace(scenario(way), objective=objective)  # type: ignore[arg-type]
    problem = given.problem(graph)
    try:
        found = Cutter.parse(text).solve(problem)
    except NoLegalCutError as error:
        return Pick("none", error.why)
    except UsageError as error:
        return Pick("not solved", error.what.partition(": ")[2])
    cost = found.cost
    if objective == "throughput":
        return Pick(named(found.where.cut), f"{1 / cost.period_s:.1f} frames/s")
    if objective == "energy":
        return Pick(named(found.where.cut), f"{cost.energy_j * 1e3:,.0f} mJ")
    unit = found.proof.value / 1e12 if isinstance(found.proof.value, int) else found.proof.value
    at = _EXIT.search(getattr(found.proof, "kind", ""))
    leaving = f", leaving at `{at[1]}`" if at and at[1] != graph.layers[-1].name else ""
    return Pick(named(found.where.cut), f"{short_ms(unit * 1e3)} ms{leaving}")


def over_three(graph: LayerGraph, way: str) -> Pick:
    """Where the layers go with a Pi 5 between, joined to the server by ethernet."""
    placed = find_placement(
        graph, [DEVICE, EDGE, SERVER], [splitc.Link.named(way), LINKS["ethernet"]]
    )
    counts = [len(placed.layers(k)) for k in range(3)]
    return Pick("/".join(map(str, counts)), f"{short_ms(placed.cost.latency_s * 1e3)} ms")


def rows(graph: LayerGraph) -> Iterator[tuple[str, str, Callable[[str], Pick]]]:
    """Each cutter, what it minimises, and what it takes over a link."""
    leaves, deadline_ms = exit_of(graph), deadline(graph)
    for text, says, objective in (
        ("min-cut", "latency", "latency"),
        ("enumerate", "latency", "latency"),
        ("qdmp", "latency", "latency"),
        ("neurosurgeon", "latency", "latency"),
        ("neurosurgeon(server_load=8)", "latency, server 8 times slower", "latency"),
        ("min-cut", "the device's energy", "energy"),
        ("dads-heavy", "throughput", "throughput"),
        (f'early-exits(exits="{leaves}:{LEAVE:g}")', "expected latency", "latency"),
        (f'edgent(exits="{leaves}", within_ms={deadline_ms})', f"within {deadline_ms} ms",
         "latency"),
    ):  # fmt: skip
        yield text, says, lambda way, t=text, o=objective: picked(graph, way, t, o)
    yield (
        "sites",
        f"latency, layers on {DEVICE}/{EDGE}/{SERVER}",
        lambda way: over_three(graph, way),
    )


def why(table: CutTable, way: str) -> str:
    """The figures behind the cut with the least latency, and what it is held against."""
    best = table.best
    cost, base = best.cost, table.baseline
    gain = (base.cost.latency_s - cost.latency_s) * 1e3
    told = "saves" if gain > 0 else "costs"
    second = table.usable[1] if len(table.usable) > 1 else None
    line = (
        f"- {way}: {named(best.cut)} takes {short_ms(cost.head_s * 1e3)} ms on the device, "
        f"{short_ms(cost.link_s * 1e3)} on the link for {short_bytes(cost.boundary_bytes)}, "
        f"{short_ms(cost.tail_s * 1e3)} on the server; it {told} {short_ms(abs(gain))} ms "
        f"against {base.title}."
    )
    if second is None:
        return line
    differences = {
        "device": second.cost.head_s - cost.head_s, "link": second.cost.link_s - cost.link_s,
        "server": second.cost.tail_s - cost.tail_s,
    }  # fmt: skip
    most = max(differences, key=lambda name: differences[name])
    slower_ms = (second.cost.latency_s - cost.latency_s) * 1e3
    if slower_ms < CLOSE_MS:
        return f"{line} {named(second.cut)} is as quick."
    slower = f"{short_ms(slower_ms)} ms slower, most of it on the {most}"
    return f"{line} Next is {named(second.cut)}, {slower}."


def section(name: str, *, write: bool) -> Iterator[str]:
    """The part of one network."""
    model = splitc.load(networks.build(name))
    graph = model.graph
    yield f"### {NAMES[name]}\n"
    yield f"| cutter | minimises | {' | '.join(WAYS)} |"
    yield "|---|---|" + "---|" * len(WAYS)
    for text, says, pick in rows(graph):
        yield f"| `{text}` | {says} | {' | '.join(str(pick(way)) for way in WAYS)} |"
    yield ""
    for way in WAYS:
        table = splitc.find_cuts(graph, scenario=scenario(way))
        yield why(table, way)
        if way == PICTURED and write:
            title = f"{NAMES[name]} on {DEVICE}, {SERVER} over {LINKS[way]}"
            plot_front(DOCS / "images" / f"cuts-{name}.svg", table, title)
    yield ""
    yield (
        f"![{NAMES[name]}: cuts over {PICTURED} by latency, device memory, bytes across, energy "
        f"and depth, the front marked](images/cuts-{name}.svg)\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="into docs/cuts.md")
    write: bool = parser.parse_args().write
    lines = [line for name in NAMES for line in section(name, write=write)]
    text = "\n".join(lines)
    print(text)
    if write:
        page = DOCS / "cuts.md"
        before, _, rest = page.read_text("utf-8").partition(BEGIN)
        _, _, behind = rest.partition(END)
        page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{behind}", "utf-8")


if __name__ == "__main__":
    main()
