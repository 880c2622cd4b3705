# SPDX-License-Identifier: Apache-2.0
"""`splitc run`: a bundle in one process, on frames out of files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from splitc.cli.objects import RunObject
    from splitc.cli.results import Results
    from splitc.runtime.inputs import Inputs


def run_(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder written by compile.")],
    frames: o.Frames,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="FILE.npy",
                     help="The right class of each frame: prints the accuracy."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="DIR", help="Write results there: 0.npy, 1.npy, …"),
    ] = None,
    repeat: Annotated[
        int, typer.Option("--repeat", metavar="N", min=1, help="Run every frame so many times.")
    ] = 1,
    state: Annotated[
        str | None,
        typer.Option("--state", metavar="IN=OUT,…",
                     help="Frames are a sequence: this input is the frame before's result, "
                          "zeros first."),
    ] = None,
    route: o.Route = None,
    emulate: Annotated[
        bool, typer.Option("--emulate", help="Run the real parts of another ISA under qemu.")
    ] = False,
    device: o.Device = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Run head and tail of BUNDLE one after the other, here, without a link."""
    from splitc.bundle.bundle import Bundle
    from splitc.bundle.open_split import check_states
    from splitc.cli import show
    from splitc.cli.results import Results, made_folder, read_labels
    from splitc.runtime.inputs import read_inputs

    o.use_device(device)
    opened = Bundle.open(bundle)
    states = read_states(state)
    check_states(opened.manifest.source, states)
    takes = tuple(s for s in opened.manifest.source.inputs if s.name not in states)
    given = read_inputs(frames, takes)
    classes = given.labels if labels is None else read_labels(Path(labels), len(given))
    folder = None if out is None else made_folder(Path(out))
    source = opened.manifest.source
    counted = {name for names in source.counted for name in names}
    rows = {s.name: s.shape[0] or 0 for s in source.outputs if s.name in counted}
    results = Results(len(given), classes, rows)
    seconds: list[float] = []
    with show.progress(quiet) as step:
        step("checking files, loading parts")
        with opened.open_parts(route or opened.manifest.default, emulate=emulate) as split:
            step(f"running {len(given)} frame{'s' if len(given) > 1 else ''}")
            frame = split.stream(states) if states else split
            for number in range(repeat * len(given)):
                start = time.perf_counter()
                made = frame(given[number % len(given)])
                seconds.append(time.perf_counter() - start)
                results.add(number, made)
            ran = split.ran
    names = [spec.name for spec in opened.manifest.source.outputs]
    files = None if folder is None else results.write(folder, names, single=given.single)
    found = _object(bundle, ran, given, results, seconds, files)
    if json:
        show.print_json(found)
    else:
        _print(found, folder)


def read_states(text: str | None) -> dict[str, str]:
    """Pairs of input and result out of `IN=OUT,…`.

    Raises:
        UsageError: It is not of that form, or names an input twice.
    """
    from splitc.errors import UsageError

    found: dict[str, str] = {}
    for pair in text.split(",") if text is not None else ():
        name, equals, after = pair.partition("=")
        if not (name and equals and after) or name in found:
            raise UsageError(f"--state {text}", why=f"'{pair}' is no new pair of input=result")
        found[name] = after
    return found


def _print(found: RunObject, folder: Path | None) -> None:
    from splitc.cli import show

    console = show.out()
    for one in found.outputs:
        shape = "x".join(map(str, one.shape)) or "scalar"
        where = f"  {folder / one.file}" if folder and one.file else ""
        console.print(show.plain(f"{one.name}  {shape} {one.dtype}{where}"))
    for line in show.ran_lines(found.parts):
        console.print(line)
    if found.accuracy is not None:
        console.print(f"accuracy: {found.accuracy:.2%}", style="bold green")
    then = found.times
    more = (
        f"; {then.calls} more: median {then.median_ms:.2f} ms, p95 {then.p95_ms:.2f}, "
        f"p99 {then.p99_ms:.2f}" if then else ""
    )  # fmt: skip
    console.print(f"first frame {found.first_ms:.2f} ms{more}")


def _object(
    bundle: str, ran: Mapping[str, str], given: Inputs, results: Results,
    seconds: Sequence[float], files: Sequence[str] | None,
) -> RunObject:  # fmt: skip
    from splitc.bundle.measure import Times
    from splitc.cli.objects import ResultObject, RunObject, TimesObject

    outputs = (
        ResultObject(
            name=name, dtype=array.dtype.name, shape=array.shape,
            file=files[k] if files else None,
        )
        for k, (name, array) in enumerate(results.arrays(single=given.single).items())
    )  # fmt: skip
    return RunObject(
        bundle=bundle, parts=dict(ran), frames=len(given), first_ms=seconds[0] * 1e3,
        times=TimesObject.of(Times.of(seconds[1:])) if seconds[1:] else None,
        outputs=tuple(outputs), accuracy=results.accuracy,
    )  # fmt: skip
