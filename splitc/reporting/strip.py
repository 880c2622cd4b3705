# SPDX-License-Identifier: Apache-2.0
"""The network as a strip of blocks: what crosses each cut above it, what each takes below."""

from __future__ import annotations

import htpy as h
from htpy import Element

from splitc.reporting.data import BlockEntry, ReportData, RowEntry
from splitc.reporting.drawing import bar, label, legend, picture, upright
from splitc.reporting.scale import Scale, percent
from splitc.reporting.words import short_bytes, short_ms, shortened

_TOP, _STRIP, _BELOW = 130, 26, 80
_HEAD = 18
"""Pixels above the bars for the labels of cuts."""
RUNNERS_UP = 5


def strip(data: ReportData, cuts: list[tuple[str, RowEntry]]) -> Element:
    """The strip.

    Args:
        data: The report's.
        cuts: The bundle's cuts, by what marks them: one, or a letter for each route's.
    """
    count = len(data.blocks)
    places = [row.after for _, row in cuts if row.after is not None]
    first, last = (min(places), max(places)) if places else _whole(cuts, count)
    drawn: list[Element] = []
    for k, block in enumerate(data.blocks):
        site = "device" if k <= first else "server" if k > last else "either"
        drawn.append(_block(k, block, count, site))
    drawn += _times(data)
    drawn += _crossing(data, set(places))
    for mark, row in cuts:
        if row.after is not None:
            at = (row.after + 1) / count
            side = "end" if at > 0.5 else "start"
            dx = "-5" if at > 0.5 else "5"
            text = mark or short_bytes(row.boundary_bytes)
            spot = {"x": percent(at), "y": "12", "dx": dx, "text-anchor": side}
            drawn += [upright(at, ".cut-line"), h.text(".cut-label", spot)[text]]
    height = _HEAD + _TOP + _STRIP + _BELOW
    key = [(".device", "area", "on the device"), (".server", "area", "on the server")]
    key += [(".either", "area", "on either, by the route")] if last > first else []
    coded = ", without the codec" if data.codec else ""
    key += [(".crosses", "area", f"bytes across the cut there (log{coded})"),
            (".takes", "area", "time on the device")]  # fmt: skip
    return h.figure[picture("strip", "The network as a strip of blocks", _said(data, cuts),
                            height, drawn), legend(key)]  # fmt: skip


def _whole(cuts: list[tuple[str, RowEntry]], count: int) -> tuple[int, int]:
    """Where nothing is cut between blocks: all on one side, or a cut in the midst of one."""
    on_device = any(row.kind == "device" for _, row in cuts)
    return (count, count) if on_device else (-1, -1)


def _block(k: int, block: BlockEntry, count: int, site: str) -> Element:
    inner = h.title[
        f"{block.first} … {block.last}: {block.layers} layers, "
                  f"{short_ms(block.device_ms)} ms on the device"
    ]  # fmt: skip
    place = {"x": percent(k / count), "width": percent(1 / count)}
    top = str(_HEAD + _TOP)
    return h.rect(f".block.{site}", y=top, height=str(_STRIP), **place)[inner]


def _times(data: ReportData) -> list[Element]:
    """What each block takes on the device, hanging from the strip."""
    count = len(data.blocks)
    scale = Scale.around([block.device_ms for block in data.blocks])
    top = _HEAD + _TOP + _STRIP
    found: list[Element] = []
    for k, block in enumerate(data.blocks):
        height = round(scale.share(block.device_ms) * (_BELOW - 6))
        found.append(bar(".takes", (k + 0.15) / count, top + 2, 0.7 / count, max(height, 1)))
    slowest = max(block.device_ms for block in data.blocks)
    end = str(top + _BELOW - 4)
    return [*found, label("100%", end, f"slowest block {short_ms(slowest)} ms", anchor="end")]


def _crossing(data: ReportData, chosen: set[int]) -> list[Element]:
    """What crosses behind each block, standing on the strip; above it the runners-up's ranks."""
    count = len(data.blocks)
    sizes = [block.after_bytes for block in data.blocks]
    known = [float(size) for size in sizes if size]
    if not known:
        return []
    ranks = {row.after: str(row.place) for row in runners_up(data)}
    scale, wide = Scale(min(known) / 4, max(known) * 1.2, log=True), min(0.4 / count, 0.03)
    found: list[Element] = []
    for k, size in enumerate(sizes):
        if size:
            at, height = (k + 1) / count, round(scale.share(size) * (_TOP - 16))
            kind = ".crosses.chosen-bar" if k in chosen else ".crosses"
            y = _HEAD + _TOP - height
            found.append(bar(kind, at - wide / 2, y, wide, height))
            if k in ranks and k not in chosen:
                found.append(label(percent(at), str(y - 4), ranks[k], ".rank", "middle"))
    return found


def runners_up(data: ReportData) -> list[RowEntry]:
    """The best cuts beside the chosen one."""
    usable = [row for row in data.rows if row.rejected is None and row.cut != data.chosen.cut]
    return usable[:RUNNERS_UP]


def _said(data: ReportData, cuts: list[tuple[str, RowEntry]]) -> str:
    blocks = f"{data.layers} layers in {len(data.blocks)} blocks"
    where = "; ".join(
        f"{f'{mark}, ' if mark else ''}after {shortened(row.cut, 60)}, where "
        f"{short_bytes(row.boundary_bytes)} cross"
        for mark, row in cuts
        if row.kind not in ("device", "server")
    )
    return f"{blocks}. Cut {where}." if where else f"{blocks}, all on one side."
