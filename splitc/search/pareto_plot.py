# SPDX-License-Identifier: Apache-2.0
"""A table's cuts as a picture: one figure against others, and what no other cut is better than."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from splitc.pictures import draw
from splitc.search.pareto import FIGURES, USUAL, Figure, front
from splitc.search.problem import CutRow
from splitc.search.table import CutTable

_ROOM = 1.1
_GREY, _BLUE, _ORANGE = "#b8bcc4", "#1f77b4", "#d95f02"


def plot_front(
    path: str | Path, table: CutTable, title: str, figures: Sequence[Figure] = USUAL
) -> None:
    """Draw the cuts that may be used: the first figure along, a panel for each of the others.

    The cuts that none is better than in all of the figures stand out, and those that none is
    better than in the two of a panel are joined by a line. The two baselines are marked, where
    they are not far beyond all cuts.

    Args:
        path: The picture; its ending says which kind.
        table: The cuts.
        title: What stands above.
        figures: What is weighed; two at least.

    Raises:
        UsageError: It has another ending than one that is known.
        ToolchainError: Nothing draws.
        OutputError: It cannot be written.
    """
    across, *others = figures
    if len(others) > 1 and len(others) % 2:
        others += [figure for figure in FIGURES if figure not in figures][:1]
    columns = 2 if len(others) > 1 else 1
    lines = -(-len(others) // columns)

    def body(canvas: Any) -> None:
        panels: list[Any] = [*canvas.subplots(lines, columns, squeeze=False).flat]
        for panel, figure in zip(panels, others, strict=True):
            _panel(panel, table, (across, figure), figures)
        handles, labels = panels[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)

    draw(path, title, body, height=1.0 + 3.0 * lines)


def _panel(
    axes: Any, table: CutTable, pair: tuple[Figure, Figure], figures: Sequence[Figure]
) -> None:
    usable, best = table.usable, front(table.usable, figures)
    beaten = [row for row in usable if row not in best]
    _dots(axes, pair, beaten, "beaten by another", color=_GREY, s=12)
    joined = sorted(front(usable, pair), key=pair[0].of)
    axes.step(
        [pair[0].of(row) for row in joined], [pair[1].of(row) for row in joined], where="post",
        color=_BLUE, linewidth=1.0, alpha=0.6, label="the best by these two",
    )  # fmt: skip
    _dots(axes, pair, best, "beaten by none", color=_BLUE, s=20)
    if table.chosen in usable:
        _dots(axes, pair, [table.chosen], "chosen", color=_ORANGE, s=70, marker="D", zorder=4)
    widest = max((pair[0].of(row) for row in usable), default=0.0)
    for row, marker in ((table.device, "s"), (table.server, "^")):
        if pair[0].of(row) <= widest * _ROOM:
            _dots(
                axes, pair, [row], f"all on the {row.kind}", marker=marker, s=45,
                facecolors="none", edgecolors="black", zorder=5,
            )  # fmt: skip
    axes.set(xlabel=pair[0].title, ylabel=pair[1].title)
    axes.grid(alpha=0.3)


def _dots(
    axes: Any, pair: tuple[Figure, Figure], rows: Sequence[CutRow], label: str, **style: Any
) -> None:
    if rows:
        x, y = ([figure.of(row) for row in rows] for figure in pair)
        axes.scatter(x, y, label=label, **style)
