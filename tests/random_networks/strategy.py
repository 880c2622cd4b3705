# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Whole networks, drawn."""

from __future__ import annotations

import math
import random

from hypothesis import strategies as st

from tests.random_networks import elementwise, moves, quantised, sums, windows
from tests.random_networks.drawing import EXTENTS, WIDTHS, Draw, Seeded, Shrinking, filling
from tests.random_networks.network import MOST_ELEMENTS, Network, UnusableError

NEWEST = 26
"""The newest opset that onnxruntime takes."""
OPSETS = (17, 13, 21, 11, 18, 15, 9, NEWEST, 22, 12, 10, 23, 20, 7, 8, 14, 16, 19, 24, 25)
FAMILIES = {
    "maps": (windows, elementwise, moves, windows, sums),
    "mixed": (elementwise, moves, sums, windows),
    "special": (elementwise, moves),
    "bytes": (quantised, quantised, windows, moves, elementwise),
}
STYLES = ("maps", "mixed", "bytes", "maps", "mixed", "bytes", "special")


def entered(draw: Draw, n: Network, style: str) -> None:
    """An input of a shape and type that networks of this style have."""
    types = {
        "maps": ["float32", "float32", "float16"],
        "mixed": ["float32", "float32", "float16", "float64", "int64", "int32", "uint8"],
        "special": ["float32"],
        "bytes": ["uint8", "float32", "int8"],
    }
    dtype = draw.one_of(*types[style])
    any_rank = (3, 2, 4, 1, 4, 0)
    ranks = {"maps": (4, 4, 3, 5), "bytes": (4, 4, 2, 3)}.get(style, any_rank)
    rank = draw.one_of(*ranks)
    extents = [draw.one_of(*EXTENTS[: {5: 3}.get(rank, 7)]) for _ in range(rank)]
    if rank > 1:
        extents[:2] = [draw.one_of(1, 1, 2), draw.one_of(*WIDTHS)]
    while math.prod(extents) > MOST_ELEMENTS:
        extents[extents.index(max(extents))] = 1
    kind = filling(draw, dtype)
    if dtype == "float32" and n.special:
        kind = "special"
    elif dtype == "float32":
        kind = draw.one_of(kind, kind, kind, "large", "pixels")
    n.input(dtype, tuple(extents), kind)


def network(draw: Draw, steps: int = 7, styles: tuple[str, ...] = STYLES) -> Network:
    """A network of one or two inputs, some operators, and all the results that nothing reads."""
    style = draw.one_of(*styles)
    n = Network(draw.one_of(*OPSETS), draw.number(0, 9), style == "special")
    for _ in range(draw.one_of(1, 1, 2)):
        entered(draw, n, style)
    wanted = draw.number(1, steps)
    for _ in range(4 * wanted):
        family = draw.one_of(*FAMILIES[style]).FAMILY
        try:
            draw.one_of(*family)(draw, n)
        except UnusableError:
            continue
        wanted -= 1
        if not wanted:
            break
    if not n.nodes:
        n.op("Identity", n.inputs[0])
    read = {name for node in n.nodes for name in node.input}
    made = [name for node in n.nodes for name in node.output]
    inner = [name for name in made if name in read]
    more = draw.some(inner, 0, 1) if inner else []
    n.outputs = [name for name in made if name not in read] + more
    return n


@st.composite
def networks(draw: st.DrawFn, steps: int = 7) -> Network:
    """Networks as Hypothesis draws them."""
    return network(Shrinking(draw), steps)


def seeded(seed: int, steps: int = 7) -> Network:
    """The network of a seed."""
    return network(Seeded(random.Random(seed)), steps)
