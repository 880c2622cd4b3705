# SPDX-License-Identifier: Apache-2.0
"""What a report is made from: chosen from a table of cuts, and read back from a hostile folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import splitc
from splitc.bundle.bundle import Bundle
from splitc.errors import BadBundleError
from splitc.reporting.bandwidth import Line, reigns
from splitc.reporting.collect import report_data
from splitc.reporting.data import DATA, MOST_BLOCKS, MOST_ROWS, ReportData, read_data
from splitc.runtime.files import file_entry
from splitc.runtime.manifest import MANIFEST
from tests.reporting.facts import chain, facts_of, table_of


def data_of(count: int, link: str = "wifi") -> ReportData:
    table = table_of(chain(count), link)
    return report_data(table, table.auto, [table.auto])


@pytest.mark.parametrize("count", [2, 12, 300])
def test_the_blocks_hold_every_layer_once_and_end_at_cuts(count: int) -> None:
    data = data_of(count)
    assert sum(block.layers for block in data.blocks) == data.layers == count
    assert sum(block.flops for block in data.blocks) == data.flops
    assert len(data.blocks) == min(count, MOST_BLOCKS)
    total = sum(block.device_ms for block in data.blocks)
    assert total == pytest.approx(data.baselines[0].head_ms, rel=1e-5)
    for row in data.rows:
        if row.after is not None:
            assert data.blocks[row.after].last == row.cut
            assert data.blocks[row.after].after_bytes == row.boundary_bytes
    assert data.chosen.after is not None


def test_of_thousands_of_cuts_those_that_win_somewhere_are_kept() -> None:
    table = table_of(chain(2000))
    data = report_data(table, table.auto, [table.auto])
    assert data.cuts == 1999
    assert len(data.rows) <= MOST_ROWS
    bps = table.costs.link.bandwidth_bps

    def line(row: splitc.CutCost) -> Line:
        return Line.of(row.head_s * 1e3, row.link_s * 1e3, row.busy_s * 1e3, row.tail_s * 1e3, bps)

    every = [*table.wholes, *table.usable]
    winners = {every[one.line].cut.name for one in reigns([line(row.cost) for row in every])}
    assert winners <= {row.cut for row in data.candidates}


def test_a_cut_in_the_midst_of_branches_ends_a_block(small_onnx: Path) -> None:
    table = splitc.find_cuts(splitc.load(small_onnx), head="rpi4")
    row = table.row_called("stem_relu,block_conv")
    data = report_data(table, row, [row])
    assert data.chosen.after is not None
    assert data.blocks[data.chosen.after].last == "block_conv"
    assert sum(block.layers for block in data.blocks) == data.layers


def test_what_was_written_is_read_back(compiled: Bundle) -> None:
    data = read_data(compiled.path, compiled.manifest)
    assert data.chosen.cut == "block_add"
    assert data.chosen.boundary_bytes == compiled.manifest.route.boundary_bytes
    assert [row.kind for row in data.baselines] == ["device", "server"]


def test_the_verdict_is_held_against_the_server_as_one_would_send_to_it(compiled: Bundle) -> None:
    graph = splitc.parse_graph("""
        %x = input() : 1x3x224x224
        %a = conv(%x) {params=7000, flops=400000000} : 1x4x112x112
        %b = conv(%a) {params=90000, flops=30000000000} : 1x4x28x28
        %y = gemm(%b) {params=4000000, flops=9000000} : 1x1000
    """)
    facts = facts_of(compiled, splitc.find_cuts(graph, head="rpi4", tail="x86-64-v3", link="lte"))
    _, _, as_bytes, jpeg = facts.data.baselines
    assert [row.boundary_bytes for row in (as_bytes, jpeg)] == [150_528, 13_167]
    assert (jpeg.sent, jpeg.source) == ("jpeg", "assumed, 2 bits a pixel")
    pays, words = facts.verdict
    assert pays == (facts.data.chosen.value < min(row.value for row in facts.data.baselines))
    assert "all on the server, sent as JPEG (13.2 kB: assumed, 2 bits a pixel)" in words


def rewritten(change: Callable[[dict[str, Any]], object]) -> Callable[[Bundle], None]:
    """The data changed, and the manifest made to agree, as an attacker would."""

    def damage(bundle: Bundle) -> None:
        path = bundle.path / DATA
        data = json.loads(path.read_text("utf-8"))
        change(data)
        path.write_text(json.dumps(data), "utf-8")
        relist(bundle)

    return damage


def relist(bundle: Bundle) -> None:
    manifest = json.loads((bundle.path / MANIFEST).read_text("utf-8"))
    entry = file_entry(bundle.path / DATA)
    manifest["files"][DATA] = {"bytes": entry.bytes, "sha256": entry.sha256}
    (bundle.path / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def altered(bundle: Bundle) -> None:
    path = bundle.path / DATA
    path.write_text(path.read_text("utf-8").replace("block_add", "block_adb"), "utf-8")


def huge(bundle: Bundle) -> None:
    (bundle.path / DATA).write_bytes(b" " * (3 * 2**20))
    relist(bundle)


def linked(bundle: Bundle) -> None:
    path = bundle.path / DATA
    path.rename(bundle.path.parent / "elsewhere")
    path.symlink_to(bundle.path.parent / "elsewhere")


def unlisted(bundle: Bundle) -> None:
    manifest = json.loads((bundle.path / MANIFEST).read_text("utf-8"))
    del manifest["files"][DATA]
    (bundle.path / MANIFEST).write_text(json.dumps(manifest), "utf-8")


DAMAGE: list[tuple[Callable[[Bundle], None], str]] = [
    (altered, "was altered"),
    (huge, "too large"),
    (linked, "no 'report.json'"),
    (unlisted, "the bundle has no 'report.json'"),
    (lambda bundle: (bundle.path / DATA).unlink(), "no 'report.json'"),
    (rewritten(lambda data: data.update(rows=data["rows"] * 40)), "malformed"),
    (rewritten(lambda data: data.update(blocks=[])), "malformed"),
    (rewritten(lambda data: data["chosen"].update(cut="x" * 5000)), "malformed"),
    (rewritten(lambda data: data["chosen"].update(head_ms=-1)), "malformed"),
    (rewritten(lambda data: data["chosen"].update(head_ms=1e300)), "malformed"),
    (rewritten(lambda data: data["chosen"].update(after=10**9)), "malformed"),
    (rewritten(lambda data: data["link"].update(bandwidth_bps=0)), "malformed"),
    (rewritten(lambda data: data.update(more=1)), "malformed"),
    (rewritten(lambda data: data.update(schema=9)), "another schema"),
    (rewritten(lambda data: data["baselines"].reverse()), "no baselines"),
]


@pytest.mark.parametrize(("damage", "why"), DAMAGE)
def test_data_that_are_not_what_was_written_are_refused(
    bundle: Bundle, damage: Callable[[Bundle], None], why: str
) -> None:
    damage(bundle)
    with pytest.raises(BadBundleError, match=why):
        splitc.report(bundle.path)
