# SPDX-License-Identifier: Apache-2.0
"""`splitc diff` and `splitc baseline`: what changed from one bundle to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o
from splitc.errors import GateError, UsageError, nearest

if TYPE_CHECKING:
    from splitc.figures.diff import Diff

_FORMATS = ("text", "md")

Measured = Annotated[
    list[str] | None,
    typer.Option("--measured", metavar="FILE.json",
                 help="What [b]splitc bench[/], [b]simulate[/], [b]verify[/] or [b]evaluate[/] "
                 "printed of the bundle with --json. Repeatable."),
]  # fmt: skip


def diff(
    old: Annotated[
        str, typer.Argument(metavar="OLD", help="Bundle, packed bundle, or baseline file.")
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Bundle, packed or not.")],
    tolerance: Annotated[
        list[str] | None,
        typer.Option("--tolerance", "-t", metavar="SHARE|FIGURE=SHARE", envvar="SPLITC_TOLERANCE",
                     help="End with exit code 9 where a figure is worse by more: [b]5%[/], "
                     "[b]head_ms=10%[/], [b]head_ms=2ms[/]. Repeatable."),
    ] = None,
    measured: Measured = None,
    any_model: Annotated[
        bool, typer.Option("--any-model", help="Compare bundles of networks that differ too.")
    ] = False,
    style: Annotated[
        str, typer.Option("--format", metavar="text|md", help="For a terminal, or as Markdown.")
    ] = "text",
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Say what changed from OLD to NEW: cut, codec, kernels, tools, and every figure."""
    from splitc.cli import show
    from splitc.figures.diff import diff as compare

    if style not in _FORMATS:
        raise UsageError(f"there is no format '{style}'", hint=nearest(style, _FORMATS))
    with show.progress(quiet) as step:
        step("reading both")
        found = compare(
            old, new, tolerances=tolerance or (), measured=measured or (), any_model=any_model
        )
    if json:
        from splitc.cli.diff_object import DiffObject

        show.print_json(DiffObject.of(found))
        if found.regressions:
            raise typer.Exit(GateError.exit_code)
        return
    if style == "md":
        print(found.markdown(), end="")
    else:
        _print(found, quiet=quiet)
    found.require()


def _print(found: Diff, *, quiet: bool) -> None:
    """It for people: what changed in words, then the figures that did."""
    from rich.table import Table

    from splitc.cli import show
    from splitc.figures.markdown import verdict

    console = show.out()
    for one in found.changes:
        line = f"{one.what}: {one.old or 'none'} -> {one.new or 'none'}"
        console.print(show.plain(line), soft_wrap=True)
    changed = found.changed
    if changed:
        view = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        view.add_column("figure", overflow="fold")
        for name in ("old", "new", "change", ""):
            view.add_column(name, justify="right" if name else "left", no_wrap=True)
        for one in changed:
            mark = f"over {one.tolerance}" if one.regression else "worse" if one.worse else ""
            style = "bold red" if one.regression else "yellow" if one.worse else "green"
            view.add_row(show.plain(one.label), *one.shown, mark, style=style)
        console.print(view)
    same = len(found.figures) - len(changed)
    if same and not quiet:
        console.print(f"{same} figure{'s are' if same > 1 else ' is'} as before", style="dim")
    for note in found.notes:
        show.err().print(f"note: {note}")
    console.print(verdict(found), style="bold red" if found.regressions else "bold green")


def baseline(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="Folder written by compile, or a packed one.")
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write [NAME.baseline.json]."),
    ] = None,
    measured: Measured = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Keep what is known of BUNDLE in a small file, for splitc diff to compare with."""
    from splitc.cli import show
    from splitc.figures.baseline import SUFFIX, known_of, write_baseline

    with show.progress(quiet) as step:
        step("reading the bundle")
        found = known_of(bundle, measured or ())
    file = output or f"{Path(found.name).name}{SUFFIX}"
    write_baseline(file, found)
    if json:
        from splitc.cli.diff_object import BaselineObject

        show.print_json(BaselineObject(file=file, baseline=found))
        return
    console = show.out()
    size = show.short_bytes(Path(file).stat().st_size)
    sources = ", ".join(one.source for one in found.figures)
    console.print(f"wrote {file}  {size}: figures of {sources}", soft_wrap=True)
    if not quiet:
        show.next_line(f"splitc diff {file} BUNDLE --tolerance 5%")
