# SPDX-License-Identifier: Apache-2.0
"""The charts of a report: times, bandwidths, memory, energy, what no cut beats."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import htpy as h
from htpy import Element, Node

from splitc.reporting.bandwidth import LEAST_BPS, MOST_BPS, Line, Reign
from splitc.reporting.data import RowEntry
from splitc.reporting.drawing import (
    Axis,
    axes,
    bar,
    curve,
    dot,
    label,
    legend,
    picture,
    upright,
)
from splitc.reporting.front import pareto_front
from splitc.reporting.scale import Scale
from splitc.reporting.words import short_bps, short_bytes, short_ms, shortened

_BASES = ("device", "server")
_NAME = 30
_POINTS = 64
_ROW = 42
LINES = 6
"""Lines that can be told apart at most."""


@dataclass(frozen=True)
class Bar:
    """A row of a chart of bars: its name, what is written at its end, its pieces by class."""

    name: str
    total: str
    pieces: tuple[tuple[str, float], ...]
    chosen: bool = False


def bars(name: str, title: str, said: str, rows: Sequence[Bar], key: Node = None) -> Element:
    """Bars that lie, one below the other, each under its name."""
    longest = max((sum(size for _, size in row.pieces) for row in rows), default=0.0) or 1.0
    drawn: list[Element] = []
    for k, row in enumerate(rows):
        y, x = k * _ROW, 0.0
        kind = ".name.chosen" if row.chosen else ".name"
        mark = "▸ " if row.chosen else ""
        drawn += [
            label("0", str(y + 14), mark + shortened(row.name, _NAME), kind),
            label("100%", str(y + 14), row.total, kind, "end"),
            h.rect(".track", x="0", y=str(y + 20), width="100%", height="12"),
        ]
        for piece, size in row.pieces:
            drawn.append(bar(piece, x, y + 20, size / longest, 12))
            x += size / longest
    return h.figure[picture(name, title, said, len(rows) * _ROW, drawn), key]


@dataclass(frozen=True)
class Curve:
    """A cut, or a route, over the bandwidth: what it is called, and its latency."""

    name: str
    line: Line


def over_bandwidth(
    name: str, title: str, said: str, curves: Sequence[Curve], won: Sequence[Reign], link_bps: float
) -> Element:
    """Latency over bandwidth: one line for each cut, where they cross, and the link's own.

    Args:
        name: Unique on the page.
        title: What it is.
        said: What is to be seen, in a sentence.
        curves: At most `LINES`.
        won: Who is quickest where; numbers of the curves.
        link_bps: The link's bandwidth.
    """
    crossings = [one.from_bps for one in won[1:]]
    x = _bandwidths([link_bps, *crossings])
    lowest = min(one.line.at(x.most) for one in curves)
    highest = max(one.line.at(x.least) for one in curves)
    y = Scale.around([lowest, min(highest, lowest * 1e4)], log=True)
    steps = [x.least * (x.most / x.least) ** (k / (_POINTS - 1)) for k in range(_POINTS)]
    best = [(bps, min(one.line.at(bps) for one in curves)) for bps in steps]
    drawn: list[Element] = [curve(".best", best, x, y)]
    for k, one in enumerate(curves):
        points = [(bps, one.line.at(bps)) for bps in steps if one.line.at(bps) <= y.most]
        if points:
            drawn.append(curve(f".line.line-{k}", points, x, y))
    for bps in crossings:
        ms = min(one.line.at(bps) for one in curves)
        drawn.append(dot(".crossing", x.share(bps), y.share(ms), 4.5, f"at {short_bps(bps)}"))
    at = x.share(link_bps)
    side, shift = ("end", "-6") if at > 0.5 else ("start", "6")
    mark = {"x": f"{at * 100:.2f}%", "y": "12", "dx": shift, "text-anchor": side}
    drawn += [upright(at, ".here"), h.text(".here-label", mark)[f"this link {short_bps(link_bps)}"]]
    plot = picture(
        name, title, said, 260,
        axes(Axis("bandwidth (bit/s)", x, _bits), Axis("latency (ms)", y, _figure)), drawn,
    )  # fmt: skip
    key = legend([
        *((f".line.line-{k}", "line", one.name) for k, one in enumerate(curves)),
        (".area-best", "area", "the quickest"),
    ])  # fmt: skip
    return h.figure[h.div(".plot")[plot], key]


def _bandwidths(marked: Sequence[float]) -> Scale:
    """An axis around bandwidths, a factor of ten beyond them."""
    least = 10.0 ** math.floor(math.log10(min(marked) / 3))
    most = 10.0 ** math.ceil(math.log10(max(marked) * 3))
    return Scale(max(least, LEAST_BPS / 10), min(most, MOST_BPS * 10), log=True)


@dataclass(frozen=True)
class Figure:
    """A figure of a cut that is weighed against its latency."""

    title: str
    of: Callable[[RowEntry], int]


MEMORY = Figure("device memory", lambda row: row.head_memory_bytes)
BYTES = Figure("bytes across", lambda row: row.boundary_bytes)


def against(
    name: str, title: str, said: str, rows: Sequence[RowEntry], chosen: RowEntry, figure: Figure
) -> Element:
    """Latency over another figure: a point for each cut, those that none beats joined."""
    shown = [row for row in rows if figure.of(row) > 0]
    x = Scale.around([row.latency_ms for row in shown], log=True)
    y = Scale.around([float(figure.of(row)) for row in shown], log=True)
    found = front(rows, figure)
    steps: list[tuple[float, float]] = []
    for one in found:
        if steps:
            steps.append((one.latency_ms, steps[-1][1]))
        steps.append((one.latency_ms, float(figure.of(one))))
    points: list[Element] = []
    for row in sorted(shown, key=lambda row: (row == chosen, row in found)):
        kind = ".dot.front" if row in found else ".dot"
        kind, radius = (".dot.chosen-dot", 7.0) if row == chosen else (kind, 4.5)
        kind = f"{kind}.base-dot" if row.kind in _BASES else kind
        said_of = f"{row.cut}: {short_ms(row.latency_ms)} ms, {short_bytes(figure.of(row))}"
        place = x.share(row.latency_ms), y.share(float(figure.of(row)))
        points.append(dot(kind, *place, radius, said_of))
    plot = picture(
        name, title, said, 240,
        axes(Axis("latency (ms)", x, _figure), Axis(figure.title, y, _short)),
        curve(".step", steps, x, y) if steps else None, points,
    )  # fmt: skip
    return h.figure[h.div(".plot")[plot], legend([
        (".dot.chosen-dot", "dot", "chosen"), (".dot.front", "dot", "no split is better in both"),
        (".dot", "dot", "beaten"), (".dot.base-dot", "dot", "all on one side"),
    ])]  # fmt: skip


def front(rows: Sequence[RowEntry], figure: Figure) -> list[RowEntry]:
    """The splits that none beats in latency and the figure, the quickest first."""
    splits = [row for row in rows if row.kind not in _BASES]
    points = [(row.latency_ms, float(figure.of(row))) for row in splits]
    return [splits[k] for k in pareto_front(points)]


def _bits(bps: float) -> str:
    """`20M`, `1G`: bits a second where there is little room."""
    figure, _, unit = short_bps(bps).partition(" ")
    return figure + unit.removesuffix("bit/s")


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def _short(value: float) -> str:
    return short_bytes(round(value))
