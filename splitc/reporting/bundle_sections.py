# SPDX-License-Identifier: Apache-2.0
"""The sections of a report about the bundle: routes, codecs, measurements, checks, origin."""

from __future__ import annotations

import htpy as h
from htpy import Element

from splitc.bundle.codec_cost import quantized_in_words
from splitc.reporting.bandwidth import reigns
from splitc.reporting.charts import LINES, Curve, over_bandwidth
from splitc.reporting.facts import Facts, cut_of, proof_in_words
from splitc.reporting.sections import section
from splitc.reporting.tables import pairs, table
from splitc.reporting.words import short_bps, short_bytes, short_ms, shortened
from splitc.runtime.codec_entry import CodecEntry
from splitc.runtime.manifest import Route

_LONG = 60


def routes(facts: Facts) -> Element | None:
    """The ways through a bundle with several, and which of them is quickest where."""
    if not facts.several:
        return None
    every = facts.manifest.routes
    rows = (
        ("chosen" if route.name == facts.manifest.default else "", (
            shortened(route.name, _LONG), short_bytes(route.boundary_bytes),
            *(short_ms(ms) for ms in route.predicted.site_ms.values()),
            short_ms(route.predicted.link_ms), _agrees(route),
        ))
        for route in every
    )  # fmt: skip
    head = ("route", "crosses", *(f"{site} ms" for site in every[0].predicted.site_ms), "link ms",
            "codec agrees")  # fmt: skip
    lines = [facts.route_line(route) for route in every]
    won = reigns(lines)
    drawn = list(dict.fromkeys([*(one.line for one in won), *range(len(every))]))[:LINES]
    curves = [Curve(shortened(every[k].name, _LONG), lines[k]) for k in drawn]
    said = "; ".join(f"from {short_bps(one.from_bps)}: {every[one.line].name}" for one in won)
    return section(
        "routes", "Routes",
        h.p["The device may take any of these, a frame at a time; marked is the default."],
        table("Routes", head, rows),
        h.h3["Which route wins over which link"],
        over_bandwidth(
            "routes-chart", "Latency of routes against bandwidth", said, curves,
            reigns([one.line for one in curves]), facts.data.link.bandwidth_bps,
        ),
        h.p["As predicted, what codecs cost in accuracy left out."],
    )  # fmt: skip


def _same(codec: CodecEntry) -> str:
    results = codec.cost.results if codec.cost else ()
    places = sum(one.argmax_of for one in results)
    return f"{sum(one.argmax_same for one in results)} of {places}" if places else "–"


def _agrees(route: Route) -> str:
    cost = route.codec.cost if route.codec else None
    return f"{cost.agreement:.1%}" if cost else "–"


def gates(facts: Facts) -> Element | None:
    """What became of gates."""
    if not facts.gates:
        return None
    rows = (
        ("" if one.passed else "no", (one.gate, "holds" if one.passed else "fails", one.why))
        for one in facts.gates
    )
    return section("gates", "Gates", table("Gates", ("gate", "verdict", "why"), rows))


def quantized(facts: Facts) -> Element | None:
    """What quantising did before the network was cut, and what it costs."""
    made = facts.manifest.source.quantized
    if made is None:
        return None
    did, against, *figures = quantized_in_words(made)
    return section(
        "quantized", "Quantised",
        h.p[f"{did}. {against.capitalize()}"],
        h.ul[(h.li[line.strip()] for line in figures)],
    )  # fmt: skip


def codecs(facts: Facts) -> Element | None:
    """What stands around what crosses, and what it costs."""
    found = [(route, route.codec) for route in facts.manifest.routes if route.codec is not None]
    if not found:
        return None
    head = ("route", "codec", "bytes across", "without it", "same arg-max",
            "relative error", "accuracy",
            "without it")  # fmt: skip
    rows = (("", _codec(facts, route, codec)) for route, codec in found)
    samples = {codec.cost.samples: codec.cost.on for _, codec in found if codec.cost}
    over = ", ".join(f"{count} {on} samples" for count, on in samples.items())
    return section(
        "codec", "Codec",
        h.p[f"Against the network as it was given, over {over}."] if over else None,
        table("Codecs", head, rows),
    )  # fmt: skip


def _codec(facts: Facts, route: Route, codec: CodecEntry) -> tuple[str, ...]:
    plain = {row.cut: row.plain_bytes for row in facts.data.candidates}.get(cut_of(route))
    cost = codec.cost
    over = ", ".join(f"{one.op}({one.settings})" for one in codec.channels)
    said = (codec.pipeline or "its own") + (f", trained over {over}" if over else "")
    errors = [one.relative_error for one in cost.results] if cost else []
    return (
        route.name, said, short_bytes(route.boundary_bytes),
        "–" if plain is None else short_bytes(plain), _same(codec),
        f"{max(errors):.2g}" if errors else "–",
        "–" if cost is None or cost.accuracy is None else f"{cost.accuracy:.1%}",
        "–" if cost is None or cost.given_accuracy is None else f"{cost.given_accuracy:.1%}",
    )  # fmt: skip


def measured(facts: Facts) -> Element:
    """What is predicted beside what was measured."""
    bench = facts.measured.bench
    if bench is None:
        return section(
            "measured", "Predicted and measured",
            h.p["Every time on this page is predicted. To put measured ones beside them:"],
            h.pre(tabindex="0")[
                "splitc bench BUNDLE --json > bench.json\n"
                "splitc report BUNDLE --measured bench.json"
            ],
        )  # fmt: skip
    parts = facts.manifest.parts
    sites = {
        name: ms for route in facts.manifest.routes
        for site, ms in route.predicted.site_ms.items()
        if len(names := route.runs.get(site, ())) == 1 for name in names
    }  # fmt: skip
    rows = [
        ("", (
            f"part {name}", parts[name].site,
            short_ms(sites[name]) if name in sites else "–",
            short_ms(one.times.median_ms), short_ms(one.times.p95_ms), one.ran,
        ))
        for name, one in bench.parts.items()
    ] + [
        ("", (
            f"route {name}", "both",
            short_ms(sum(facts.manifest.route_named(name).predicted.site_ms.values())),
            short_ms(one.median_ms), short_ms(one.p95_ms), "its parts, the link left out",
        ))
        for name, one in bench.routes.items()
    ]  # fmt: skip
    head = ("what", "site", "predicted ms", "measured ms", "95 in 100 below", "what ran")
    return section(
        "measured", "Predicted and measured",
        h.p["Predicted for the boards; measured on the machine that ran splitc bench, where a "
            "part for another processor is replaced by its build for that machine."],
        table("Predicted and measured", head, rows),
    )  # fmt: skip


def checked(facts: Facts) -> Element:
    """How the parts are held against the network."""
    manifest, found = facts.manifest, facts.measured.verify
    text = (
        "Golden vectors were made by the unsplit network, with seed "
        f"{manifest.seed}. Every result and everything that crosses may be off by a relative "
        f"error of {manifest.tolerance:.0e} at most. Every file has its sha256 in the manifest."
    )
    if found is None:
        return section(
            "checked", "How it is checked", h.p[text],
            h.pre(tabindex="0")[
                "splitc verify BUNDLE              # every hash, then every route\n"
                "splitc verify BUNDLE --emulate    # the device's own code, emulated\n"
                "splitc verify BUNDLE --json > verify.json\n"
                "splitc report BUNDLE --measured verify.json   # puts what it finds here"
            ],
        )  # fmt: skip
    rows = (
        ("" if one.passed else "no", (
            name, "passed" if one.passed else "failed",
            "no number" if one.worst is None else f"{one.worst:.1e}",
            "yes" if all(d.same_argmax for d in one.outputs) else "no",
        ))
        for name, one in found.routes.items()
    )  # fmt: skip
    ran = "; ".join(f"{name} ran as {one.ran}" for name, one in found.parts.items())
    verdict = "Verified" if found.passed else "Not verified"
    return section(
        "checked", "How it was checked", h.p[text],
        h.p[f"{verdict} over {found.samples} samples, tolerance {found.tolerance:.0e}. {ran}."],
        table("Routes, as verified", ("route", "verdict", "worst error", "same arg-max"), rows),
    )  # fmt: skip


def parts(facts: Facts) -> Element:
    """What was compiled."""
    rows = (
        ("", (
            name, facts.manifest.parts[name].site, f"{facts.manifest.parts[name].layers:,}",
            part.target, f"{part.isa} {' '.join((part.cpu, *part.features))}".strip(),
            f"glibc {part.glibc}" if part.glibc else "–",
            short_bytes(sum(entry.bytes for entry in part.files.values())),
            short_bytes(part.activation_bytes) if part.activation_bytes else "–",
        ))
        for name, part in facts.parts.items()
    )  # fmt: skip
    head = ("part", "site", "layers", "board", "processor", "C library", "files", "tensors' memory")
    proof = proof_in_words(facts.manifest.route.proof)
    return section("parts", "Parts", h.p[proof], table("Parts", head, rows))


def provenance(facts: Facts) -> Element:
    """Where the bundle comes from."""
    return section("provenance", "Provenance", pairs(facts.provenance))
