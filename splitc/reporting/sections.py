# SPDX-License-Identifier: Apache-2.0
"""The sections of a report about cuts: the network, times, bandwidths, memory and energy."""

from __future__ import annotations

import htpy as h
from htpy import Element, Node

from splitc.reporting.bandwidth import MOST_BPS, Reign, reigns
from splitc.reporting.charts import (
    BYTES,
    LINES,
    MEMORY,
    Bar,
    Curve,
    Figure,
    against,
    bars,
    front,
    over_bandwidth,
)
from splitc.reporting.data import RowEntry
from splitc.reporting.drawing import legend
from splitc.reporting.facts import AIMS, Facts, cut_of
from splitc.reporting.strip import runners_up, strip
from splitc.reporting.tables import table
from splitc.reporting.words import (
    short_bps,
    short_bytes,
    short_flops,
    short_mj,
    short_ms,
    shortened,
)
from splitc.search.problem import WHOLES

_LONG = 60


def section(name: str, title: str, *body: Node) -> Element:
    """A part of the page under a heading."""
    return h.section(id=name, aria_labelledby=f"{name}-head")[h.h2(id=f"{name}-head")[title], body]


def network(facts: Facts) -> Element:
    """The strip of blocks, and the same as a table."""
    data = facts.data
    cuts = [("", data.chosen)]
    if facts.several:
        cuts = _route_cuts(facts) or cuts
    blocks = (
        ("", (
            f"{k}. {shortened(block.first, _LONG)}"
            + (f" … {shortened(block.last, _LONG)}" if block.layers > 1 else ""),
            f"{block.layers:,}", ", ".join(block.ops), short_bytes(block.param_bytes),
            f"{block.flops / 1e6:,.1f}", short_ms(block.device_ms), short_ms(block.server_ms),
            "" if block.after_bytes is None else short_bytes(block.after_bytes),
        ))
        for k, block in enumerate(data.blocks, start=1)
    )  # fmt: skip
    head = ("block", "layers", "operators", "weights", "MFLOP", "device ms", "server ms",
            "bytes across its end")  # fmt: skip
    marks = "; ".join(
        f"{mark} after {shortened(row.cut, _LONG)}, {short_bytes(row.plain_bytes or 0)}"
        for mark, row in cuts
        if mark
    )
    return section(
        "network", "The network",
        h.p[f"{data.layers:,} layers, {short_flops(data.flops)}, "
            f"{short_bytes(data.param_bytes)} of weights; {data.cuts:,} cuts were looked at, "
            f"{data.usable:,} may be used. Numbers on the strip are the runners-up."],
        h.p[f"Cuts of the routes: {marks}."] if marks else None,
        strip(data, cuts),
        h.details[h.summary["The blocks as a table"], table("Blocks", head, blocks)],
    )  # fmt: skip


def _marks(facts: Facts) -> list[tuple[str, str]]:
    """The cuts of several routes by letters, each cut once."""
    if not facts.several:
        return []
    cuts = dict.fromkeys(cut_of(route) for route in facts.manifest.routes)
    return [(_letter(k), name) for k, name in enumerate(cuts)]


def _letter(k: int) -> str:
    return chr(ord("a") + k) if k < 26 else str(k + 1)


def _route_cuts(facts: Facts) -> list[tuple[str, RowEntry]]:
    known = {row.cut: row for row in facts.data.candidates}
    return [(mark, known[name]) for mark, name in _marks(facts) if name in known]


def times(facts: Facts) -> Element:
    """Head, link and tail of the baselines, the chosen cut and the runners-up, as bars."""
    data = facts.data
    others = [row for row in runners_up(data) if row != data.chosen]
    chosen = [] if data.chosen.kind in WHOLES else [data.chosen]
    rows = [*data.baselines, *chosen, *others]
    shown = [
        Bar(
            facts.label(row), f"{short_ms(row.latency_ms)} ms",
            ((".device", row.head_ms), (".link", row.link_ms), (".server", row.tail_ms)),
            chosen=row == data.chosen,
        )
        for row in rows
    ]  # fmt: skip
    said = "; ".join(
        f"{facts.label(row)}: head {short_ms(row.head_ms)}, link {short_ms(row.link_ms)}, "
        f"tail {short_ms(row.tail_ms)} ms"
        for row in rows
    )
    key = legend([(".device", "area", "head on the device"), (".link", "area", "link"),
                  (".server", "area", "tail on the server")])  # fmt: skip
    return section(
        "times", "Where the time goes",
        h.p[f"Times are {data.figures}; link {data.link.text}."],
        bars("times-chart", "Predicted latency of cuts", said, shown, key),
    )  # fmt: skip


def bandwidths(facts: Facts) -> Element:
    """Which cut is quickest over which bandwidth."""
    data, won = facts.data, facts.reigns
    rows = data.candidates
    drawn = _drawn(facts)
    curves = [Curve(shortened(facts.label(rows[k]), _LONG), facts.lines[k]) for k in drawn]
    bps = data.link.bandwidth_bps
    said = "; ".join(f"{_range(one)}: {facts.label(rows[one.line])}" for one in won)
    chart = over_bandwidth(
        "bandwidth-chart", "Latency against bandwidth", said, curves,
        reigns([one.line for one in curves]), bps,
    )  # fmt: skip
    body = (
        (
            "chosen" if one.from_bps <= bps < one.to_bps else "",
            (_range(one), shortened(facts.label(rows[one.line]), _LONG),
             *(short_ms(facts.lines[one.line].at(b)) for b in (one.from_bps, one.to_bps))),
        )
        for one in won
    )  # fmt: skip
    return section(
        "bandwidth", "Which cut wins over which link",
        h.p["Head and tail take what they take; what crosses takes the longer the slower the "
            "link is. Marked is where one gives way to the next, and the link of this bundle."],
        chart, table("The quickest by bandwidth", (
            "bandwidth", "quickest", "ms at its low end", "ms at its high end"), body),
    )  # fmt: skip


def _drawn(facts: Facts) -> list[int]:
    """The candidates that are drawn: the baselines, the chosen, and who reigns the widest."""
    rows = facts.data.candidates
    wanted = [0, 1, next(k for k, row in enumerate(rows) if row == facts.data.chosen)]
    widest = sorted(facts.reigns, key=lambda one: one.from_bps / one.to_bps)
    found = list(dict.fromkeys([*wanted, *(one.line for one in widest)]))
    return found[:LINES]


def _range(one: Reign) -> str:
    if one.to_bps >= MOST_BPS:
        return f"above {short_bps(one.from_bps)}"
    return f"{short_bps(one.from_bps)} to {short_bps(one.to_bps)}"


def weighed(facts: Facts) -> Element:
    """Latency against device memory and against bytes across."""
    data = facts.data
    return section(
        "weighed", "What no split beats",
        h.p["A point for each cut shown here. No split is better in both figures than those "
            "that are joined."],
        h.div(".two")[
            _weighed(facts, "memory-front", MEMORY, "Latency against device memory",
                     data.candidates),
            _weighed(facts, "bytes-front", BYTES, "Latency against bytes across the link",
                     data.candidates),
        ],
    )  # fmt: skip


def _weighed(
    facts: Facts, name: str, figure: Figure, title: str, rows: tuple[RowEntry, ...]
) -> Element:
    best = front(rows, figure)
    said = "No split is better in both than: " + "; ".join(
        f"{shortened(facts.label(row), _LONG)}, {short_ms(row.latency_ms)} ms, "
        f"{short_bytes(figure.of(row))}"
        for row in best
    )
    body = (
        ("chosen" if row == facts.data.chosen else "",
         (shortened(facts.label(row), _LONG), short_ms(row.latency_ms),
          short_bytes(figure.of(row))))
        for row in best
    )  # fmt: skip
    return h.div[
        h.h3[title], against(name, title, said, rows, facts.data.chosen, figure),
        h.details[h.summary["The joined points as a table"],
                  table(title, ("cut after", "latency ms", figure.title), body)],
    ]  # fmt: skip


def on_device(facts: Facts) -> Element:
    """Memory and energy of the device."""
    data = facts.data
    chosen = [] if data.chosen.kind in WHOLES else [data.chosen]
    rows = [*data.baselines, *chosen, *runners_up(data)]
    memory = [
        Bar(
            facts.label(row), short_bytes(row.head_memory_bytes),
            ((".weights", row.head_weight_bytes),
             (".tensors", max(row.head_memory_bytes - row.head_weight_bytes, 0))),
            chosen=row == data.chosen,
        )
        for row in rows
    ]  # fmt: skip
    energy = [
        Bar(facts.label(row), short_mj(row.energy_mj), ((".energy", row.energy_mj),),
            chosen=row == data.chosen)
        for row in rows
    ]  # fmt: skip
    key = legend([(".weights", "area", "weights"), (".tensors", "area", "tensors, at most")])
    return section(
        "device", "Memory and energy of the device",
        h.p[f"{data.device} has {short_bytes(data.device_memory_bytes)} of memory."],
        h.div(".two")[
            h.div[h.h3["Memory"],
                  bars("memory-chart", "Memory of the device", _list(facts, rows, memory),
                       memory, key)],
            h.div[h.h3["Energy of one inference"],
                  bars("energy-chart", "Energy of the device", _list(facts, rows, energy),
                       energy)],
        ],
    )  # fmt: skip


def _list(facts: Facts, rows: list[RowEntry], drawn: list[Bar]) -> str:
    pairs = zip(rows, drawn, strict=True)
    return "; ".join(f"{facts.label(row)}: {one.total}" for row, one in pairs)


def every_cut(facts: Facts) -> Element:
    """The cuts as a table."""
    data = facts.data
    aim = f"{AIMS[data.objective]} {data.unit}"
    head = ("cut after", "crosses", "head ms", "link ms", "tail ms", aim, "memory", "energy mJ")
    rows = [*data.candidates, *(row for row in data.rows if row.rejected is not None)]
    left = data.cuts - sum(row.place > 0 for row in rows)
    return section(
        "cuts", "Cuts",
        table("Cuts, the best first", head, (_line(facts, row) for row in rows)),
        h.p[f"{left:,} more: splitc cuts MODEL --all"] if left > 0 else None,
    )  # fmt: skip


def _line(facts: Facts, row: RowEntry) -> tuple[str, tuple[Node, ...]]:
    base = row.kind in WHOLES
    name = shortened(facts.label(row), _LONG)
    cells = (
        short_bytes(row.boundary_bytes) if row.boundary_bytes or not base else "–",
        short_ms(row.head_ms), short_ms(row.link_ms), short_ms(row.tail_ms), short_ms(row.value),
        short_bytes(row.head_memory_bytes), short_ms(row.energy_mj),
    )  # fmt: skip
    kind = "base" if base else "no" if row.rejected else ""
    kind = "chosen" if row == facts.data.chosen else kind
    named = f"{row.place}. {name}" if row.place else name
    why = h.span(".why")[f" ({row.rejected})"] if row.rejected else None
    first: Node = [("▸ " if kind == "chosen" else "") + named, why]
    return kind, (first, *cells)
