# SPDX-License-Identifier: Apache-2.0
"""`splitc targets`: the boards there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o

if TYPE_CHECKING:
    from splitc.cost.board import Board


def _unit(board: Board) -> str:
    """What computes, as its compiler names it."""
    from splitc.cost.board import Gpu

    return board.unit.arch if isinstance(board.unit, Gpu) else board.unit.cpu


def targets(
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="BOARD",
                     help="Print that board's file instead, to begin one's own from."),
    ] = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """List the boards that head and tail can be compiled for."""
    from splitc.cli import show
    from splitc.cost.board import board_text, boards, load_board
    from splitc.errors import DeviceError

    if file is not None:
        print(board_text(file), end="")
        return
    known = boards()
    if json:
        from splitc.cli.listings import TargetsObject

        show.print_json(TargetsObject(targets=tuple(known.values())))
        return
    from rich.table import Table

    view = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for name in ("name", "what", "ISA", "unit"):
        view.add_column(name, no_wrap=name != "what")
    view.add_column("GFLOP/s", justify="right")
    view.add_column("GB/s", justify="right")
    for name, board in known.items():
        try:
            shown = load_board(name) if name != "host" or not quiet else board
        except DeviceError:
            view.add_row(name, board.title, board.processor.isa, "none here")
            continue
        view.add_row(
            name, shown.title, shown.processor.isa, _unit(shown), f"{shown.peak_flops / 1e9:.0f}",
            f"{shown.memory_bandwidth / 1e9:.1f}",
        )  # fmt: skip
    console = show.out()
    console.print(view)
    if not quiet:
        console.print(
            'Your own: --target FILE.toml with base = "rpi4", name = "mine" and what differs.',
            style="dim",
        )
