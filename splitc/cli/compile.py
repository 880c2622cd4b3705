# SPDX-License-Identifier: Apache-2.0
"""`splitc compile`: the main job."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o
from splitc.cli.spread import spread
from splitc.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from splitc.build.backend import Built
    from splitc.build.compiler import Job
    from splitc.bundle.bundle import Bundle
    from splitc.bundle.verify import Verification
    from splitc.search.problem import CutRow
    from splitc.search.table import CutTable

_ROWS = 8
_WHERE = o.ScenarioOptions()


@spread
def compile_(
    model: o.ModelPath,
    cut: Annotated[
        str,
        typer.Option("--cut", "-c", metavar="auto|LAYER[,LAYER…]|N", envvar="SPLITC_CUT",
                     help="Where to cut: the head's last layers, by their names, the ends of "
                     "those or their modules; or a row's number in the table of cuts."),
    ] = "auto",
    cuts: Annotated[
        str | None,
        typer.Option("--cuts", metavar="CUT,CUT,…", envvar="SPLITC_CUTS",
                     help="Several nested cuts, [b]+[/] between the layers of one: the bundle "
                     "has a route for each, and what lies between them once a side."),
    ] = None,
    bits: Annotated[
        str | None,
        typer.Option("--bits", metavar="N,N,…", envvar="SPLITC_BITS",
                     help="At each cut, routes too that send so many bits, like [b]8,4[/]."),
    ] = None,
    by_plan: Annotated[
        str | None,
        typer.Option("--plan", metavar="FILE.json",
                     help="The routes of a plan that [b]splitc plan[/] wrote."),
    ] = None,
    where: o.ScenarioOptions = _WHERE,
    only_if_it_pays: Annotated[
        bool,
        typer.Option("--only-if-it-pays", help="Fail, with exit code 5, where all on the device "
                     "or all on the server is predicted to be as good."),
    ] = False,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to write [MODEL.splitc]."),
    ] = None,
    calibrate: o.Calibrate = None,
    emit: Annotated[
        str,
        typer.Option("--emit", metavar="BACKEND[,BACKEND]",
                     help="Compiled code ([b]tvm[/]), ONNX files ([b]onnx[/]), or another "
                     "backend's; two with a comma between for head and tail."),
    ] = "tvm",
    runtime: Annotated[
        str,
        typer.Option("--runtime", metavar="bundle|none",
                     help="Put what runs a part into it, or leave it out."),
    ] = "bundle",
    check: Annotated[
        bool,
        typer.Option("--check/--no-check",
                     help="Run the compiled parts on golden vectors before the bundle is there."),
    ] = True,
    twin: Annotated[
        bool,
        typer.Option("--twin/--no-twin",
                     help="Keep builds for this machine of parts that it cannot run, for "
                     "[b]verify[/], [b]run[/] and [b]bench[/] here."),
    ] = True,
    batch: Annotated[
        str | None,
        typer.Option("--batch", metavar="N,N,…", envvar="SPLITC_BATCH",
                     help="Compile the tail for so many frames a call too, like [b]1,2,4,8[/]: "
                     "a server runs frames that wait together."),
    ] = None,
    with_whole: Annotated[
        bool,
        typer.Option("--with-whole", help="Compile the whole network for the device too, for "
                     "when the server is silent."),
    ] = False,
    pack: Annotated[bool, typer.Option("--pack", help="Write DIR.zip as well.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the golden inputs.")] = 0,
    tune: o.Tune = False,
    tune_seconds: o.TuneSeconds = 300.0,
    tune_rpc: o.TuneRpc = "",
    tune_parts: o.TuneParts = "head,tail",
    inputs: o.Inputs = None,
    simplify: o.Simplify = True,
    to_torch: o.ToTorch = False,
    max_bytes: o.MaxBytes = "8GiB",
    verbose: o.Verbose = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Cut MODEL in two, compile head and tail, write a bundle."""
    if runtime not in ("bundle", "none"):
        raise UsageError(f"--runtime {runtime}", hint="one of: bundle, none")
    if tune_rpc and not tune:
        raise UsageError("--tune-rpc does nothing without --tune", hint="add --tune")
    if cuts is not None and cut != "auto":
        raise UsageError("--cut and --cuts", hint="name every cut in --cuts")
    if calibrate and not (where.codec or bits or by_plan):
        hint = "add --codec, like --codec quantize-boundary, or --bits"
        raise UsageError("--calibrate does nothing without --codec", hint=hint)
    from splitc.build.backend import Tuning, warm_up
    from splitc.build.compiler import build, plan
    from splitc.cli import show
    from splitc.passes.calibration import read_batches, read_labels

    sizes = o.parse_sizes(batch) if batch is not None else ()
    names = [name.strip() for name in cuts.split(",")] if cuts is not None else ()
    widths = o.parse_sizes(bits, "--bits") if bits is not None else ()
    tuning = Tuning(tune_seconds, tune_rpc, tuple(tune_parts.split(","))) if tune else None
    scenario = where.scenario()
    with show.progress(quiet) as step:
        step(f"reading {model}")
        options = o.ModelOptions(model, inputs, simplify, max_bytes, to_torch)
        loaded = options.load(meanwhile=partial(warm_up, emit))
        inputs_of = loaded.graph.inputs
        batches = read_batches(calibrate, inputs_of) if calibrate else ()
        labels = read_labels(calibrate, inputs_of, len(batches)) if calibrate else None
        job = plan(
            loaded, cut=cut, cuts=names, bits=widths, by_plan=by_plan, scenario=scenario,
            name=options.name, emit=emit, batches=batches, labels=labels, batch_sizes=sizes,
            with_whole=with_whole,
        )  # fmt: skip
        if not json:
            _print_table(job.table, job.row, quiet=quiet)
        if only_if_it_pays:
            job.refuse_no_gain()
        notes = [loaded.note] if loaded.note else []
        parts: dict[str, Built] = {}
        found: list[Verification] = []
        bundle = build(
            job, output=output, runtime=runtime, seed=seed, tuning=tuning,
            check=check, twins=twin, progress=step, note=notes.append, told=parts.__setitem__,
            checked=found.append,
        )  # fmt: skip
        packed = bundle.pack(bundle.path.with_name(bundle.path.name + ".zip")) if pack else None
    if os.environ.get("CI"):
        notes += _of_this_machine(job)
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
                notes=tuple(notes),
            )
        )
        return
    for note in notes:
        show.err().print(f"note: {note}")
    _print_parts(job, bundle, found, parts if verbose else {})
    if packed:
        show.out().print(f"wrote {packed}  {show.short_bytes(packed.stat().st_size)}")
    if not quiet:
        verb = "verify" if runtime == "bundle" else "inspect"
        show.out().print(f"\nNext: splitc {verb} {bundle.path}")


def _of_this_machine(job: Job) -> list[str]:
    """Which parts another machine would compile to other bytes, for builds that are kept."""
    from splitc.cost.board import is_detected

    return [
        f"the {part.name} is compiled for the processor of this machine, "
        f"{' +'.join((part.board.processor.cpu, *part.board.processor.features))}: another "
        f"makes other bytes; name a target, like {part.board.processor.cpu}"
        for part in (*job.parts, *job.others)
        if part.backend.compiles and is_detected(part.board)
    ]


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
            size, what = show.short_bytes(_size(twin)), f"the {part.name} for this machine"
            console.print(f"wrote {twin}/  {size}: {what}, to verify it; --no-twin leaves it out")
    console.print(f"wrote {bundle.path / 'report.html'}  the cuts as a page")
    if len(bundle.manifest.routes) == 1:
        for line in show.cost_lines(bundle.manifest.route.codec):
            console.print(line, markup=False)
    else:
        console.print(show.route_table(bundle.manifest))
    for one in found:
        console.print(show.checked(one), style="green")


def _print_table(table: CutTable, row: CutRow, *, quiet: bool) -> None:
    from splitc.cli import cut_table, show

    rows = cut_table.best_rows(table, _ROWS, row)
    console = show.out()
    cut_table.print_cuts(table, rows, row)
    if quiet:
        return
    for line in show.remarks(table):
        console.print(line, style="dim")
    more = cut_table.not_shown(table, rows)
    console.print(f"Times are {table.costs.label}; link {table.costs.link}.", style="dim")
    if more > 0:
        console.print(f"{more} more cuts: splitc cuts MODEL --all", style="dim")
    console.print(cut_table.advice(table, row))
    console.print()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
