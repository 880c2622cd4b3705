# SPDX-License-Identifier: Apache-2.0
"""What docs/cuts.md says each cutter picks is what it picks."""

from __future__ import annotations

import splitc
from benchmarks.cutters_table import BEGIN, DOCS, END, NAMES, PICTURED, WAYS, rows
from benchmarks.networks import build

AGAIN = "python benchmarks/cutters_table.py --write"


def test_the_page_has_what_cutters_pick_today() -> None:
    text = (DOCS / "cuts.md").read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    graph = splitc.load(build("mobilenet_v2")).graph
    known = [line for line in text.splitlines() if line.startswith("|")]
    for cutter, says, pick in rows(graph):
        line = f"| `{cutter}` | {says} | {' | '.join(str(pick(way)) for way in WAYS)} |"
        assert line in known, f"make it again: {AGAIN}"


def test_each_network_has_its_reasons_and_its_picture() -> None:
    text = (DOCS / "cuts.md").read_text("utf-8")
    for name, title in NAMES.items():
        part = text.partition(f"### {title}\n")[2].partition("### ")[0]
        assert [line.split(":")[0] for line in part.splitlines() if line.startswith("- ")][:3] == [
            f"- {way}" for way in WAYS
        ]
        assert f"(images/cuts-{name}.svg)" in part
        assert PICTURED in part
        drawn = (DOCS / "images" / f"cuts-{name}.svg").read_text("utf-8")
        assert len(drawn) < 150_000
        assert "<script" not in drawn
