# SPDX-License-Identifier: Apache-2.0
"""Charts as inline SVG: what they share. Text keeps its size however wide a page is.

A chart has no view box: places along it are shares of its width in percent, heights and text are
in pixels. What has many points is drawn in a box of its own that is stretched, its strokes not.
Colours are classes, which the page's style sheet gives a meaning in light and in dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import htpy as h
from htpy import Element, Node

from splitc.reporting.scale import Scale, percent

_BOX = 1000


@dataclass(frozen=True)
class Axis:
    """One axis of a chart: what stands beside it, its scale, and how ticks are written."""

    title: str
    scale: Scale
    write: Callable[[float], str]


def picture(name: str, title: str, said: str, height: int, *body: Node) -> Element:
    """An SVG that screen readers announce by its title and what it says.

    Args:
        name: Unique on its page.
        title: What it is.
        said: What is to be seen in it, in a sentence or two.
        height: In pixels.
        body: What is drawn.
    """
    return h.svg(
        ".chart", role="img", height=str(height), width="100%",
        aria_labelledby=f"{name}-title {name}-said",
    )[h.title(id=f"{name}-title")[title], h.desc(id=f"{name}-said")[said], body]  # fmt: skip


def label(
    x: str, y: str, text: str, kind: str = ".tick", anchor: str = "start", dy: int = 0
) -> Element:
    """A line of text."""
    place = {"x": x, "y": y, "text-anchor": anchor, "dy": str(dy)}
    return h.text(kind, place)[text]


def bar(kind: str, x: float, y: int, width: float, height: int) -> Element:
    """A bar that lies: `x` and `width` are shares of the chart's width."""
    place = {"x": percent(x), "width": percent(width)}
    return h.rect(kind, y=str(y), height=str(height), **place)


def upright(x: float, kind: str, height: str = "100%") -> Element:
    """A line from the top to the bottom."""
    return h.line(kind, x1=percent(x), x2=percent(x), y1="0", y2=height)


def curve(kind: str, points: Iterable[tuple[float, float]], x: Scale, y: Scale) -> Element:
    """Straight lines between points, values of both axes."""
    places = (f"{x.share(a) * _BOX:.0f} {(1 - y.share(b)) * _BOX:.0f}" for a, b in points)
    box = f"0 0 {_BOX} {_BOX}"
    return h.svg(
        viewBox=box, preserveAspectRatio="none", width="100%", height="100%", class_="stretched"
    )[h.path(kind, d="M" + "L".join(places))]


def dot(kind: str, x: float, y: float, radius: float, said: str) -> Element:
    """A point; `x` and `y` are shares, from the left and from the bottom."""
    return h.circle(kind, cx=percent(x), cy=percent(1 - y), r=f"{radius:g}")[h.title[said]]


def axes(x: Axis, y: Axis) -> list[Element]:
    """Grid lines, ticks and titles of a chart with two axes."""
    found: list[Element] = []
    for value in y.scale.ticks():
        at = percent(1 - y.scale.share(value))
        found += [
            h.line(".grid", x1="0", x2="100%", y1=at, y2=at),
            label("-8", at, y.write(value), anchor="end", dy=4),
        ]
    places = x.scale.ticks()
    crowded = len(places) > 5 and sum(map(_is_power, places)) > 1
    for value in places:
        share = x.scale.share(value)
        at = percent(share)
        anchor = "end" if share > 0.97 else "start" if share < 0.03 else "middle"
        kind = ".tick.minor" if crowded and not _is_power(value) else ".tick"
        found += [
            h.line(".grid", x1=at, x2=at, y1="0", y2="100%"),
            label(at, "100%", x.write(value), kind, anchor, 18),
        ]
    return [
        *found,
        label("100%", "100%", x.title, ".axis", "end", 38),
        label("-52", "-12", y.title, ".axis"),
    ]


def _is_power(value: float) -> bool:
    """Whether it is 1, 10, 100: what stays where there is little room."""
    return value > 0 and math.isclose(value, 10.0 ** round(math.log10(value)))


def legend(entries: Sequence[tuple[str, str, str]]) -> Element:
    """What stands for what: a class, `line`, `dot` or `area`, and text."""
    return h.ul(".legend")[(h.li[_sample(kind, shape), " ", text] for kind, shape, text in entries)]


def _sample(kind: str, shape: str) -> Element:
    drawn = {
        "line": lambda: h.line(kind, x1="0", x2="24", y1="7", y2="7"),
        "dot": lambda: h.circle(kind, cx="12", cy="7", r="5"),
        "area": lambda: h.rect(kind, x="2", y="1", width="20", height="12"),
    }[shape]()
    return h.svg(width="24", height="14", aria_hidden="true")[drawn]
