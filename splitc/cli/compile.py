# SPDX-License-Identifier: Apache-2.0
"""`splitc compile`: the main job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import gates
from splitc.cli import options as o
from splitc.cli.compile_flags import CompileFlags
from splitc.cli.spread import spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from splitc.build.backend import Built
    from splitc.build.job import Job
    from splitc.bundle.bundle import Bundle
    from splitc.bundle.verify import Verification
    from splitc.cost.board import Board
    from splitc.figures.gate import Gate, Verdict
    from splitc.search.problem import CutRow
    from splitc.search.table import CutTable

_ROWS = 8
_FLAGS = CompileFlags()


@spread
def compile_(
    model: o.ModelPath,
    flags: CompileFlags = _FLAGS,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to write [MODEL.splitc]."),
    ] = None,
    pack: Annotated[
        bool, typer.Option("--pack", help="Write DIR.zip as well, as [b]splitc pack[/] does.")
    ] = False,
    fail_on: gates.FailOn = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Cut MODEL in two, compile head and tail, write a bundle."""
    from splitc.cli import show

    asked = flags.options(model)
    asked.refuse()
    wanted = gates.read_gates(fail_on, "compile")
    with show.progress(quiet) as step:
        step(f"reading {model}")
        loaded = asked.load()
        job = asked.job(loaded)
        if not json:
            _print_table(job.table, job.row, quiet=quiet)
        if asked.only_if_it_pays:
            job.refuse_no_gain()
        notes = [loaded.note] if loaded.note else []
        parts: dict[str, Built] = {}
        found: list[Verification] = []
        bundle = asked.build(
            job, output, progress=step, note=notes.append, told=parts.__setitem__,
            checked=found.append,
        )  # fmt: skip
        packed = bundle.pack(bundle.path.with_name(bundle.path.name + ".zip")) if pack else None
    if os.environ.get("CI"):
        notes += _of_this_machine(job)
    verdicts = _judged(bundle, found, wanted)
    if json:
        from splitc.cli.compile_object import CompileObject, RouteObject
        from splitc.cli.objects import CheckObject, RowObject, TableObject

        codec = bundle.manifest.route.codec
        show.print_json(
            CompileObject(
                bundle=str(bundle.path),
                packed=str(packed) if packed else None,
                chosen=RowObject.of(job.row, job.table.value(job.row)),
                table=TableObject.of(job.table),
                bytes={
                    part.name: _size(bundle.path / part.name) for part in (*job.parts, *job.others)
                },
                **CompileObject.sizes(parts),
                check=CheckObject.of(found[0]) if found else None,
                routes=tuple(RouteObject.of(one) for one in bundle.manifest.routes),
                codec_cost=codec.cost if codec else None,
                quantized=bundle.manifest.source.quantized,
                notes=tuple(notes),
                gates=verdicts,
            )
        )
        gates.close(verdicts, json=True)
        return
    for note in notes:
        show.err().print(f"note: {note}")
    _print_parts(job, bundle, found, parts if verbose else {})
    if packed:
        show.out().print(f"wrote {packed}  {show.short_bytes(packed.stat().st_size)}")
    if not quiet:
        verb = "verify" if asked.runtime == "bundle" else "inspect"
        show.next_line(f"splitc {verb} {bundle.path}")
    gates.close(verdicts, json=False)


def _judged(
    bundle: Bundle, found: Sequence[Verification], wanted: Sequence[Gate]
) -> tuple[Verdict, ...]:
    """What becomes of gates on what the manifests say, and on what the check found."""
    if not wanted:
        return ()
    import msgspec

    from splitc.cli.objects import CheckObject
    from splitc.figures.gate import judge
    from splitc.figures.values import of_bundle, of_printed

    checks = [msgspec.to_builtins(CheckObject.of(one)) for one in found]
    return judge(
        wanted, of_bundle(bundle), *(of_printed(bundle.manifest, check) for check in checks)
    )


def _of_this_machine(job: Job) -> list[str]:
    """Which parts another machine would compile to other bytes, for builds that are kept."""
    from splitc.cost.board import is_detected

    return [
        f"the {part.name} is compiled for this machine, {_named(part.board)}: another makes other "
        f"bytes; name a target, like {_alike(part.board)}"
        for part in (*job.parts, *job.others)
        if part.backend.compiles and is_detected(part.board)
    ]


def _named(board: Board) -> str:
    """What a part is compiled for, as the compiler names it."""
    from splitc.cost.board import Gpu

    if isinstance(board.unit, Gpu):
        return f"whose GPU is {board.unit.arch}"
    return f"a {' +'.join((board.processor.cpu, *board.processor.features))}"


def _alike(board: Board) -> str:
    """A target by name that is compiled as this machine is."""
    from splitc.cost.board import Gpu

    if isinstance(board.unit, Gpu):
        return f"cuda-{board.unit.arch.replace('_', '')}"
    return board.processor.cpu


def _print_parts(
    job: Job, bundle: Bundle, found: Sequence[Verification], parts: Mapping[str, Built]
) -> None:
    """What was written, what a codec costs, and what the check found."""
    from splitc.bundle.runnable import twin_folder
    from splitc.cli import show

    console = show.out()
    for part in (*job.parts, *job.others):
        folder = bundle.path / part.name
        size = show.short_bytes(_size(folder))
        console.print(f"wrote {folder}/  {size} for {part.board.title}")
        if part.name in parts:
            console.print(show.kernel_table(parts[part.name]))
    for part in (*job.parts, *job.others):
        twin = twin_folder(bundle.path, part.name)
        if twin.is_dir():
            size = show.short_bytes(_size(twin))
            what = "the whole network" if part.name == "whole" else f"the {part.name}"
            console.print(
                f"wrote {twin}/  {size}: {what} built for this machine too, to check it; "
                "--no-twin leaves it out"
            )
    console.print(f"wrote {bundle.path / 'report.html'}  the cuts as a page")
    for line in show.quantized_lines(bundle.manifest):
        console.print(line, markup=False)
    if len(bundle.manifest.routes) == 1:
        for line in show.cost_lines(bundle.manifest.route.codec):
            console.print(line, markup=False)
    else:
        console.print(show.route_table(bundle.manifest))
    for one in found:
        console.print(show.checked(one), style="green")
        for line in show.not_run(bundle, one):
            console.print(line, style="yellow", soft_wrap=True)


def _print_table(table: CutTable, row: CutRow, *, quiet: bool) -> None:
    from splitc.cli import cut_table, show
    from splitc.cli.codec_lines import brought_line, print_choice

    rows = cut_table.best_rows(table, _ROWS, row)
    console = show.out()
    cut_table.print_cuts(table, rows, row)
    print_choice(table)
    if quiet:
        return
    for line in show.remarks(table):
        console.print(line, style="dim")
    more = cut_table.not_shown(table, rows)
    console.print(f"Times are {table.costs.label}; link {table.costs.link}.", style="dim")
    if more > 0:
        console.print(f"{more} more cuts: splitc cuts MODEL --all", style="dim")
    console.print(cut_table.advice(table, row))
    if (brought := brought_line(table)) is not None:
        console.print(brought)
    console.print()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
