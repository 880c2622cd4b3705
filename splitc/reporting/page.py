# SPDX-License-Identifier: Apache-2.0
"""The report as one HTML page: no script, nothing loaded, the same bytes for the same bundle."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import htpy as h
from htpy import Element
from markupsafe import Markup

from splitc.errors import printable
from splitc.reporting import bundle_sections as of_bundle
from splitc.reporting import sections as of_cuts
from splitc.reporting.facts import Facts
from splitc.reporting.words import short_bytes, short_mj, short_ms
from splitc.search.problem import WHOLES

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What the page may load: nothing, whatever a name in it may hold."""


def page(facts: Facts) -> str:
    """The report of a bundle."""
    found = [
        ("gates", "Gates", of_bundle.gates(facts)),
        ("network", "Network", of_cuts.network(facts)),
        ("times", "Times", of_cuts.times(facts)),
        ("bandwidth", "Bandwidth", of_cuts.bandwidths(facts)),
        ("routes", "Routes", of_bundle.routes(facts)),
        ("weighed", "Pareto", of_cuts.weighed(facts)),
        ("device", "Device", of_cuts.on_device(facts)),
        ("quantized", "Quantised", of_bundle.quantized(facts)),
        ("codec", "Codec", of_bundle.codecs(facts)),
        ("measured", "Measured", of_bundle.measured(facts)),
        ("checked", "Checked", of_bundle.checked(facts)),
        ("cuts", "Cuts", of_cuts.every_cut(facts)),
        ("parts", "Parts", of_bundle.parts(facts)),
        ("provenance", "Provenance", of_bundle.provenance(facts)),
    ]
    shown = [(anchor, title, one) for anchor, title, one in found if one is not None]
    name = facts.manifest.name
    text = h.html(lang="en")[
        h.head[
            h.meta(charset="utf-8"),
            h.meta(http_equiv="Content-Security-Policy", content=_POLICY),
            h.meta(name="viewport", content="width=device-width, initial-scale=1"),
            h.meta(name="color-scheme", content="light dark"),
            h.title[f"{name}: splitc report"],
            h.style[Markup(_style())],  # noqa: S704 - a file of splitc's own
        ],
        h.body[
            h.a(".skip", href="#main")["Skip to the report"],
            h.header[
                h.h1[facts.title], _verdict(facts), _tiles(facts), _contents(shown)
            ],
            h.main(id="main", tabindex="-1")[(one for *_, one in shown)],
            h.footer[h.p[f"Made by splitc {facts.manifest.tools.get('splitc', '')} from the "
                         "bundle alone."]],
        ],
    ]  # fmt: skip
    return "\n".join(map(printable, f"{text}\n".split("\n")))


@cache
def _style() -> str:
    return Path(__file__).with_name("page.css").read_text("utf-8")


def _verdict(facts: Facts) -> Element:
    pays, words = facts.verdict
    return h.p(".verdict.pays" if pays else ".verdict")[words]


def _tiles(facts: Facts) -> Element:
    """The figures that one asks for first."""
    row, link = facts.data.chosen, facts.data.link.text
    split = row.kind not in WHOLES
    tiles = [
        ("predicted latency", f"{short_ms(row.latency_ms)} ms", f"over {link}"),
        ("crosses the link", short_bytes(row.boundary_bytes),
         f"{short_bytes(row.plain_bytes)} without the codec"
         if row.plain_bytes is not None and row.plain_bytes != row.boundary_bytes and split
         else "a frame"),
        ("device memory", short_bytes(row.head_memory_bytes), facts.data.device),
        ("device energy", short_mj(row.energy_mj), "an inference"),
    ]  # fmt: skip
    return h.ul(".tiles")[
        (
            h.li[h.span(".what")[what], h.span(".value")[value], h.span(".more")[more]]
            for what, value, more in tiles
        )
    ]


def _contents(shown: Sequence[tuple[str, str, Element]]) -> Element:
    return h.nav(aria_label="Sections")[
        h.ul[(h.li[h.a(href=f"#{anchor}")[title]] for anchor, title, _ in shown)]
    ]
