# SPDX-License-Identifier: Apache-2.0
"""The report as GitHub-flavoured Markdown, for the summary of a CI job.

Names come out of models: they stand in code spans, where nothing is markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from splitc.bundle.codec_cost import quantized_in_words
from splitc.errors import printable
from splitc.figures.markdown import plain_markdown
from splitc.figures.markdown import table as written
from splitc.reporting.data import RowEntry
from splitc.reporting.facts import AIMS, Facts
from splitc.reporting.words import short_bytes, short_mj, short_ms, shortened
from splitc.search.problem import WHOLES

_ROWS = 8
_LONG = 60


def markdown(facts: Facts) -> str:
    """The report of a bundle."""
    blocks = [
        f"### {_title(facts)}",
        plain_markdown(facts.verdict[1]),
        _figures(facts),
        *([_routes(facts)] if facts.several else []),
        *_gates(facts),
        _cuts(facts),
        *_quantized(facts),
        *_codec(facts),
        *_measured(facts),
        _provenance(facts),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def code(text: str, *, cell: bool = True) -> str:
    """A name as a code span, by default one of a table's cell."""
    text = printable(text)
    text = text.replace("|", "\\|") if cell else text
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    room = " " if longest or text != text.strip() or not text else ""
    return f"{fence}{room}{text}{room}{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its first column is text, the others are figures."""
    return written(head, [*rows], right=len(head) - 1)


def _title(facts: Facts) -> str:
    name = code(shortened(facts.manifest.name, _LONG), cell=False)
    if facts.several:
        return f"{name}: {len(facts.manifest.routes)} routes"
    chosen = facts.data.chosen
    if chosen.kind in WHOLES:
        return f"{name}: {WHOLES[chosen.kind]}"
    return f"{name}: cut after {code(shortened(chosen.cut, _LONG), cell=False)}"


def _name(facts: Facts, row: RowEntry) -> str:
    """What a row is called, in a table."""
    return facts.label(row) if row.kind in WHOLES else code(shortened(row.cut, _LONG))


def _figures(facts: Facts) -> str:
    row = facts.data.chosen
    return table(
        ("predicted", ""),
        (
            ("latency", f"{short_ms(row.latency_ms)} ms"),
            ("head, link, tail",
             f"{short_ms(row.head_ms)}, {short_ms(row.link_ms)}, {short_ms(row.tail_ms)} ms"),
            ("crosses the link", short_bytes(row.boundary_bytes)),
            ("device memory", short_bytes(row.head_memory_bytes)),
            ("device energy", short_mj(row.energy_mj)),
        ),
    )  # fmt: skip


def _routes(facts: Facts) -> str:
    rows = (
        (
            ("▸ " if route.name == facts.manifest.default else "") + code(route.name),
            short_bytes(route.boundary_bytes),
            *(short_ms(ms) for ms in route.predicted.site_ms.values()),
            short_ms(route.predicted.link_ms),
        )
        for route in facts.manifest.routes
    )
    sites = facts.manifest.routes[0].predicted.site_ms
    return table(("route", "crosses", *(f"{site} ms" for site in sites), "link ms"), rows)


def _cuts(facts: Facts) -> str:
    data = facts.data
    usable = [row for row in data.rows if row.rejected is None]
    best = usable[:_ROWS]
    if data.chosen.kind not in WHOLES and data.chosen not in best:
        best = [data.chosen, *best[:-1]]
    head = ("cut after", "crosses", "head ms", "link ms", "tail ms",
            f"{AIMS[data.objective]} {data.unit}", "memory")  # fmt: skip
    rows = (
        (
            ("▸ " if row == data.chosen else "") + _name(facts, row),
            short_bytes(row.boundary_bytes) if row.boundary_bytes else "–",
            short_ms(row.head_ms), short_ms(row.link_ms), short_ms(row.tail_ms),
            short_ms(row.value), short_bytes(row.head_memory_bytes),
        )
        for row in (*data.baselines, *best)
    )  # fmt: skip
    said = plain_markdown(f"Times are {data.figures}; link {data.link.text}.")
    more = len(best)
    left = f" {data.usable - more:,} more cuts may be used." if data.usable > more else ""
    return f"{table(head, rows)}\n\n{said}{left}"


def _gates(facts: Facts) -> list[str]:
    rows = [
        (code(one.gate), "holds" if one.passed else "**fails**", plain_markdown(one.why))
        for one in facts.gates
    ]
    return [table(("gate", "", "why"), rows)] if rows else []


def _quantized(facts: Facts) -> list[str]:
    made = facts.manifest.source.quantized
    if made is None:
        return []
    did, against, *figures = (plain_markdown(line.strip()) for line in quantized_in_words(made))
    return [f"{did}; {against}", "\n".join(f"- {line}" for line in figures)]


def _codec(facts: Facts) -> list[str]:
    rows = [
        (
            code(route.name), code(shortened(route.codec.pipeline or "its own", _LONG)),
            short_bytes(route.boundary_bytes),
            f"{route.codec.cost.agreement:.1%}" if route.codec.cost else "–",
        )
        for route in facts.manifest.routes
        if route.codec is not None
    ]  # fmt: skip
    return [table(("route", "codec", "crosses", "agrees"), rows)] if rows else []


def _measured(facts: Facts) -> list[str]:
    found: list[str] = []
    if facts.measured.bench is not None:
        rows = [
            (code(name), short_ms(one.times.median_ms), short_ms(one.times.p95_ms))
            for name, one in facts.measured.bench.parts.items()
        ]
        found.append(table(("measured", "median ms", "95 in 100 below"), rows))
    check = facts.measured.verify
    if check is not None:
        rows = [
            (code(name), "passed" if one.passed else "**failed**",
             "–" if one.worst is None else f"{one.worst:.1e}")
            for name, one in check.routes.items()
        ]  # fmt: skip
        found.append(table((f"verified, tolerance {check.tolerance:.0e}", "", "worst error"), rows))
    return found


def _provenance(facts: Facts) -> str:
    rows = ((name, code(value)) for name, value in facts.provenance)
    body = table(("provenance", ""), ((plain_markdown(name), value) for name, value in rows))
    return f"<details><summary>Provenance</summary>\n\n{body}\n\n</details>"
