# SPDX-License-Identifier: Apache-2.0
"""Tables and lists of a page: a table that is too wide scrolls, by keyboard too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import htpy as h
from htpy import Element, Node

_WRAPS = 28
"""Characters that stand in one line."""


def table(caption: str, head: Sequence[str], rows: Iterable[tuple[str, Sequence[Node]]]) -> Element:
    """A table whose first column has names, and whose others have figures.

    Args:
        caption: What it is; also what a screen reader calls the region that scrolls.
        head: The columns' titles.
        rows: Each with its class, "" for none, and its cells.
    """
    body = [
        h.tr(class_=kind or None)[
            h.th(scope="row")[_cell(cells[0])], (h.td[_cell(cell)] for cell in cells[1:])
        ]
        for kind, cells in rows
    ]
    return h.div(".scroll", tabindex="0", role="region", aria_label=caption)[
        h.table[
            h.caption[caption],
            h.thead[h.tr[(h.th(scope="col")[title] for title in head)]],
            h.tbody[body],
        ]
    ]


def pairs(entries: Iterable[tuple[str, Node]]) -> Element:
    """Terms and what they are."""
    return h.dl[((h.dt[term], h.dd[_cell(what)]) for term, what in entries)]


def _cell(cell: Node) -> Node:
    if not isinstance(cell, str):
        return cell
    return h.span(".long")[cell] if len(cell) > _WRAPS else cell
