# SPDX-License-Identifier: Apache-2.0
"""A graph of two cuts, and figures of networks trained for losses at both."""

from __future__ import annotations

from splitc.ir.text import parse_graph
from splitc.search.tested import Trained

GRAPH = parse_graph(
    """
    %x = input() : 1x3x32x32
    %a = conv(%x) : 1x64x32x32
    %b = conv(%a) : 1x64x8x8
    %y = softmax(%b) : 1x10
    """
)
_RATES = (0.0, 0.2, 0.4, 0.6, 0.9)
_REACHED = {
    ("a", "0"): (92.0, 80.0, 55.0, 30.0, 12.0),
    ("a", "0.4"): (90.0, 89.0, 86.0, 80.0, 30.0),
    ("b", "0"): (92.0, 88.0, 80.0, 66.0, 20.0),
    ("b", "0.4"): (91.0, 90.7, 90.0, 86.0, 40.0),
}
_COSTS = {32: 0.0, 8: 0.1, 4: 2.0}
"""Points that so many bits cost."""

TESTED = tuple(
    Trained(cut, rate, {p: a - cost for p, a in zip(_RATES, reached, strict=True)}, bits)
    for (cut, rate), reached in _REACHED.items()
    for bits, cost in _COSTS.items()
)
