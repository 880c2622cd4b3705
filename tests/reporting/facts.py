# SPDX-License-Identifier: Apache-2.0
"""What reports of several tests are made from: chains of layers, and names that are markup."""

from __future__ import annotations

import msgspec

from splitc.bundle.bundle import Bundle
from splitc.ir.graph import INPUT_OP, Layer, LayerGraph, Tensor
from splitc.reporting.collect import report_data
from splitc.reporting.facts import Facts
from splitc.search.find import find_cuts
from splitc.search.table import CutTable

HOSTILE = (
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "</title></style></svg><b>bold</b>",
    "a|b `c` ``d`` | <i>e</i>",
    "line\nbreak\r\n\n# heading\n\x1b[31m\x00",
    "[link](javascript:alert(1)) ![](http://x/y.png) @someone #1 *em*",
    "\u202ereversed",
    "&lt;b&gt; &amp;",
    "\\",
    "`",
    " ",
)  # fmt: skip
"""Names that a page or Markdown would obey if it let them."""


def chain(count: int, names: tuple[str, ...] = ()) -> LayerGraph:
    """Convolutions one behind the other whose maps shrink, by default called by their numbers."""
    layers = [Layer("x", INPUT_OP, (), (Tensor("x", (1, 64, 64, 64)),))]
    for k in range(count):
        extent = max(64 - 60 * k // count, 2)
        name = names[k] if k < len(names) else f"features/stage{k % 7}/layer{k}/conv"
        made = Tensor(f"t{k}", (1, 64, extent, extent))
        reads = layers[-1].outputs[0].name
        flops = 2 * 64 * 64 * 9 * extent * extent
        layers.append(Layer(name, "conv", (reads,), (made,), 64 * 64 * 9 * 4, flops))
    return LayerGraph(tuple(layers), (f"t{count - 1}",))


def table_of(graph: LayerGraph, link: str = "wifi") -> CutTable:
    """Its cuts, between a Raspberry Pi 4 and a server."""
    return find_cuts(graph, head="rpi4", tail="x86-64-v3", link=link)


def facts_of(bundle: Bundle, table: CutTable, name: str = "network") -> Facts:
    """The facts of a bundle with another network's cuts."""
    known = Facts.of(bundle)
    row = table.auto
    route = msgspec.structs.replace(known.manifest.route, cut=row.cut.layers)
    source = msgspec.structs.replace(known.manifest.source, name=name)
    manifest = msgspec.structs.replace(
        known.manifest, name=name, source=source, routes=(route,), default=route.name
    )
    return Facts(
        manifest, known.parts, report_data(table, row, [row]), known.record, known.measured
    )
