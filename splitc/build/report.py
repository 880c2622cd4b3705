# SPDX-License-Identifier: Apache-2.0
"""The report in a bundle: one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from splitc.build.codec_cost import in_words
from splitc.runtime.codec_entry import CodecEntry
from splitc.runtime.manifest import Route
from splitc.search.problem import CutRow
from splitc.search.table import CutTable

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%}td,th{padding:.2rem .6rem;text-align:right}
td:first-child,th:first-child{text-align:left;word-break:break-all}tr.chosen{background:#e8f1fb;font-weight:600}
tr.base{color:#666}tr.no{color:#999}th{border-bottom:1px solid #888}svg{width:100%;height:auto}
.head{fill:#3b7dd8}.link{fill:#e39a2d}.tail{fill:#4f9d69}
text{font:11px system-ui,sans-serif;fill:#333}
""".strip()
_BARS = 16
_TOTALS = {"latency": "total (ms)", "throughput": "period (ms)", "energy": "energy (mJ)"}


def write_report(
    path: Path, name: str, table: CutTable, chosen: CutRow, routes: Sequence[Route]
) -> None:
    """Write the cut table and a chart of it; the same bytes for the same table.

    Args:
        path: Where to.
        name: The bundle's.
        table: The cuts.
        chosen: The row of the bundle's default route.
        routes: The bundle's.
    """
    rows = [table.device, table.server, *table.rows]
    several = len(routes) > 1
    title = f"{len(routes)} routes" if several else f"cut after {_short(chosen)}"
    codec = None if several else routes[0].codec
    body = "\n".join(
        [
            f"<h1>{escape(name)}, {escape(title)}</h1>",
            *(_routes(routes) if several else ()),
            f"<p>{escape(summary(table, chosen))}</p>",
            f"<p>{_codec(table)}Times are {escape(table.costs.label)}. "
            f"Link: {escape(str(table.costs.link))}.</p>",
            *_cost(codec),
            _chart([table.device, table.server, *_around(table, chosen)], chosen),
            "<table><tr><th>cut after</th><th>crosses (bytes)</th><th>head (ms)</th>"
            f"<th>link (ms)</th><th>tail (ms)</th><th>{_TOTALS[table.objective]}</th></tr>",
            *(_line(table, row, chosen) for row in rows),
            "</table>",
        ]
    )
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(name)}: splitc report</title><style>{_STYLE}</style>\n{body}\n</html>\n"
    )
    path.write_text(page, "utf-8")


def _routes(routes: Sequence[Route]) -> list[str]:
    """The routes of a bundle with several, as a table."""
    lines = [
        "<table><tr><th>route</th><th>crosses (bytes)</th><th>head (ms)</th><th>link (ms)</th>"
        "<th>tail (ms)</th><th>codec agrees</th></tr>"
    ]
    for one in routes:
        took, cost = one.predicted, one.codec.cost if one.codec else None
        head, tail = took.site_ms.values()
        times = "".join(f"<td>{ms:.1f}</td>" for ms in (head, took.link_ms, tail))
        agrees = f"{cost.agreement:.1%}" if cost else ""
        lines.append(
            f"<tr><td>{escape(one.name)}</td><td>{one.boundary_bytes:,}</td>{times}"
            f"<td>{agrees}</td></tr>"
        )
    return [*lines, "</table>"]


def _codec(table: CutTable) -> str:
    return f"With {escape(str(table.problem.codec))} at every cut. " if table.problem.codec else ""


def _cost(codec: CodecEntry | None) -> list[str]:
    """What the codec costs against the given network, as a paragraph."""
    if codec is None or codec.cost is None:
        return []
    first, *others = in_words(codec.cost)
    said = escape(f"{first[:1].upper()}{first[1:]} " + "; ".join(o.strip() for o in others))
    return [f"<p>{said}.</p>"]


def summary(table: CutTable, chosen: CutRow) -> str:
    """One sentence: what the split costs against keeping everything on one side."""
    unit = "mJ" if table.objective == "energy" else "ms"
    split, device, server = (table.value(row) * 1e3 for row in (chosen, table.device, table.server))
    words = (
        f"split {split:.1f} {unit}, all on the device {device:.1f}, all on the server {server:.1f}"
    )
    best = table.value(table.baseline) * 1e3
    if split < best:
        return f"The split wins: {words}."
    side = table.baseline.kind
    return (
        f"No gain from splitting: all on the {side} is {split - best:.1f} {unit} better ({words})."
    )


def _around(table: CutTable, chosen: CutRow) -> list[CutRow]:
    best = list(table.usable[:_BARS])
    return best if any(row.cut == chosen.cut for row in best) else [chosen, *best[:-1]]


def _short(row: CutRow) -> str:
    return {"device": "nothing: all on the device", "server": "nothing: all on the server"}.get(
        row.kind, row.cut.name
    )


def _line(table: CutTable, row: CutRow, chosen: CutRow) -> str:
    kind = "base" if row.kind in ("device", "server") else "no" if row.rejected else ""
    kind = "chosen" if row.cut == chosen.cut else kind
    cost = row.cost
    cells = (cost.head_s, cost.link_s, cost.tail_s, table.value(row))
    title = f' title="{escape(row.rejected)}"' if row.rejected else ""
    return (
        f'<tr class="{kind}"{title}><td>{escape(_short(row))}</td><td>{cost.boundary_bytes:,}</td>'
        + "".join(f"<td>{value * 1e3:.1f}</td>" for value in cells)
        + "</tr>"
    )


def _chart(rows: list[CutRow], chosen: CutRow) -> str:
    longest = max(row.cost.latency_s for row in rows) or 1.0
    parts = [f'<svg viewBox="0 0 900 {len(rows) * 20 + 26}" role="img">']
    for k, row in enumerate(rows):
        x, y = 250.0, k * 20 + 4
        label = _short(row)
        label = label if len(label) <= 34 else "…" + label[-33:]
        weight = ' font-weight="bold"' if row.cut == chosen.cut else ""
        parts.append(f'<text x="244" y="{y + 11}" text-anchor="end"{weight}>{escape(label)}</text>')
        sides = (("head", row.cost.head_s), ("link", row.cost.link_s), ("tail", row.cost.tail_s))
        for side, seconds in sides:
            width = 560 * seconds / longest
            parts.append(
                f'<rect class="{side}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="14"/>'
            )
            x += width
        parts.append(f'<text x="{x + 5:.1f}" y="{y + 11}">{row.cost.latency_s * 1e3:.1f} ms</text>')
    y = len(rows) * 20 + 18
    for k, side in enumerate(("head", "link", "tail")):
        parts.append(
            f'<rect class="{side}" x="{250 + 70 * k}" y="{y - 10}" width="12" height="12"/>'
        )
        parts.append(f'<text x="{266 + 70 * k}" y="{y}">{side}</text>')
    return "".join(parts) + "</svg>"
