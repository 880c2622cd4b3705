# SPDX-License-Identifier: Apache-2.0
"""What both forms of a report say: the bundle, its data, and what follows from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from splitc.bundle.bundle import Bundle
from splitc.bundle.record import RECORD, BuildRecord, read_record
from splitc.figures.gate import Verdict
from splitc.ir.proof import Enumerated, FlowProof, Heuristic, Proof
from splitc.reporting.bandwidth import Line, Reign, reigns
from splitc.reporting.data import ReportData, RowEntry, read_data, read_listed
from splitc.reporting.measured import Measured
from splitc.reporting.words import short_bytes, short_ms, shortened
from splitc.runtime.manifest import MANIFEST, Manifest, PartManifest, Route
from splitc.search.problem import SENT_AS, WHOLES

_LONG, _TITLE = 500, 120
AIMS = {"latency": "total", "throughput": "period", "energy": "energy"}


@dataclass(frozen=True)
class Facts:
    """What a report is made from.

    Args:
        manifest: The bundle's.
        parts: Those of its parts, by name.
        data: The report's own.
        record: What was asked of the compilation.
        measured: What was measured since.
        gates: What became of gates on its figures.
    """

    manifest: Manifest
    parts: Mapping[str, PartManifest]
    data: ReportData
    record: BuildRecord
    measured: Measured
    gates: tuple[Verdict, ...] = ()

    @staticmethod
    def of(bundle: Bundle, measured: Measured | None = None) -> Facts:
        """Those of a bundle; no code is loaded, and of its files only manifests and data read.

        Raises:
            BadBundleError: A manifest or the data is missing, malformed or altered.
        """
        manifest = bundle.manifest
        data = read_data(bundle.path, manifest)
        read_listed(bundle.path, manifest, RECORD)
        for entry in manifest.parts.values():
            read_listed(bundle.path, manifest, f"{entry.folder}/{MANIFEST}")
        parts = {name: bundle.part(name) for name in manifest.parts}
        return Facts(manifest, parts, data, read_record(bundle.path), measured or Measured())

    @property
    def several(self) -> bool:
        """Whether the bundle has several routes."""
        return len(self.manifest.routes) > 1

    @property
    def title(self) -> str:
        """What was compiled, in one phrase."""
        name = shortened(self.manifest.name, _TITLE)
        if self.several:
            return f"{len(self.manifest.routes)} routes through {name}"
        chosen = self.data.chosen
        if chosen.kind in WHOLES:
            return f"{name}, {WHOLES[chosen.kind]}"
        return f"{name}, cut after {shortened(chosen.cut, _TITLE)}"

    @property
    def verdict(self) -> tuple[bool, str]:
        """Whether the chosen cut beats every baseline, and that in a sentence."""
        data = self.data
        device, *sent = data.baselines
        server = min(sent, key=lambda row: row.value)
        base = min(device, server, key=lambda row: row.value)
        size = short_bytes(server.boundary_bytes)
        source = f" ({size}: {server.source})" if server.source else ""
        words = (
            f"{short_ms(device.value)} {data.unit} {self.label(device)}, "
            f"{short_ms(server.value)} {data.unit} {self.label(server)}{source}"
        )
        mine, what = data.chosen, f"{short_ms(data.chosen.value)} {data.unit}"
        if mine.kind in WHOLES:
            return False, f"Nothing is split: {words}, as predicted."
        saved = base.value - mine.value
        if saved > 0:
            least = f"{saved / base.value:.0%} less" if base.value else "less"
            text = f"The split pays: {what}, {least} than the better of {words}."
            return True, text
        text = f"The split does not pay over this link: {what}, against {words}."
        return False, text

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The latency of each candidate over the bandwidth."""
        bps = self.data.link.bandwidth_bps
        return tuple(
            Line.of(row.head_ms, row.link_ms, row.busy_ms, row.tail_ms, bps)
            for row in self.data.candidates
        )

    @cached_property
    def reigns(self) -> tuple[Reign, ...]:
        """Which candidate is quickest over which bandwidths."""
        return reigns(self.lines)

    def label(self, row: RowEntry) -> str:
        """What a row is called."""
        name = WHOLES.get(row.kind, row.cut)
        return name if row.sent == "tensor" else f"{name}, {SENT_AS[row.sent]}"

    def route_line(self, route: Route) -> Line:
        """The latency of a route over the bandwidth, as predicted."""
        took, link = route.predicted, self.data.link
        rest = sum(took.site_ms.values())
        trip_s = link.rtt_s if self.data.results == "device" else link.rtt_s / 2
        busy = max(took.link_ms - trip_s * 1e3, 0.0)
        return Line.of(rest, took.link_ms, busy, 0.0, link.bandwidth_bps)

    @property
    def provenance(self) -> list[tuple[str, str]]:
        """What the bundle was made of, by what, and with which options."""
        manifest = self.manifest
        source = manifest.source
        return [
            ("model", source.name),
            ("model sha256", source.sha256),
            ("split digest", manifest.split),
            *((f"{name} version", version) for name, version in manifest.tools.items()),
            *((f"option {name}", _option(text)) for name, text in manifest.config.items()),
            *((f"asked for {name}", _asked(value)) for name, value in self.record.options.items()),
            *((f"data of {one.option}", f"{one.name}, sha256 {one.sha256}")
              for one in self.record.data),
            ("seed of golden vectors", str(manifest.seed)),
        ]  # fmt: skip


def cut_of(route: Route) -> str:
    """The cut of a route as the table names it, without what a codec adds."""
    return (route.codec.cut if route.codec else "") or ",".join(route.cut)


def proof_in_words(proof: Proof) -> str:
    """Why the cut is the best, in a sentence."""
    if isinstance(proof, FlowProof):
        return "A minimum cut found it: no cut of the network costs less."
    if isinstance(proof, Enumerated):
        return f"It is the best of all {proof.count:,} {proof.kind}, which were tried."
    if isinstance(proof, Heuristic):
        return f"There may be a better one: {proof.why}."
    return "It was named, not searched for."


def _asked(value: Any) -> str:
    """An option of `splitc compile` as it was given."""
    if not isinstance(value, str):
        try:
            value = json.dumps(value, ensure_ascii=False)
        except RecursionError:
            return "…"
    return shortened(value, _LONG)


def _option(text: str) -> str:
    """An option's text; of several routes one after the other."""
    if not text.startswith("{"):
        return text
    try:
        several = json.loads(text)
    except ValueError:
        return text
    return "; ".join(f"{name}: {value or 'plain'}" for name, value in several.items())
