# SPDX-License-Identifier: Apache-2.0
"""`splitc run`: a bundle in one process, on frames out of files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o
from splitc.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from splitc.arrays import Array, Arrays
    from splitc.bundle.open_split import OpenSplit
    from splitc.cli.objects import RunObject
    from splitc.runtime.inputs import Inputs


def run_(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder written by compile.")],
    frames: o.Frames,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="DIR", help="Write results there: 0.npy, 1.npy, …"),
    ] = None,
    repeat: Annotated[
        int, typer.Option("--repeat", metavar="N", min=1, help="Run every frame so many times.")
    ] = 1,
    emulate: Annotated[
        bool, typer.Option("--emulate", help="Run the real parts of another ISA under qemu.")
    ] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Run head and tail of BUNDLE one after the other, here, without a link."""
    from splitc.bundle.bundle import Bundle
    from splitc.cli import show
    from splitc.runtime.inputs import read_inputs

    opened = Bundle.open(bundle)
    given = read_inputs(frames, opened.manifest.source.inputs)
    folder = None if out is None else _folder(out)
    with show.progress(quiet or json) as step:
        step("checking files, loading parts")
        with opened.open_parts(emulate=emulate) as split:
            step(f"running {len(given)} frame{'s' if len(given) > 1 else ''}")
            results, seconds = _run(split, given, repeat)
            ran = split.ran
    written = None if folder is None else _write(folder, results)
    found = _object(bundle, ran, len(given), results, seconds, written)
    if json:
        show.print_json(found)
        return
    console = show.out()
    for one in found.outputs:
        shape = "x".join(map(str, one.shape)) or "scalar"
        where = f"  {folder / one.file}" if folder and one.file else ""
        console.print(show.plain(f"{one.name}  {shape} {one.dtype}{where}"))
    for line in show.ran_lines(ran):
        console.print(line)
    console.print(f"first frame {found.first_ms:.2f} ms", end="")
    then = found.times
    console.print(
        f"; {then.calls} more: median {then.median_ms:.2f} ms, p95 {then.p95_ms:.2f}, "
        f"p99 {then.p99_ms:.2f}" if then else ""
    )  # fmt: skip


def _run(split: OpenSplit, given: Inputs, repeat: int) -> tuple[Mapping[str, Array], list[float]]:
    """The results, along one more axis where there are several frames, and seconds of each run."""
    from splitc.runtime.part import stack_samples

    kept: list[Arrays] = []
    seconds: list[float] = []
    for turn in range(repeat):
        for frame in given:
            start = time.perf_counter()
            made = split(frame)
            seconds.append(time.perf_counter() - start)
            if turn == 0:
                kept.append(made)
    return kept[0] if given.single else stack_samples(kept), seconds


def _object(
    bundle: str, ran: Mapping[str, str], frames: int, results: Mapping[str, Array],
    seconds: Sequence[float], files: Sequence[str] | None,
) -> RunObject:  # fmt: skip
    from splitc.bundle.measure import Times
    from splitc.cli.objects import ResultObject, RunObject, TimesObject

    outputs = (
        ResultObject(
            name=name, dtype=array.dtype.name, shape=array.shape,
            file=files[k] if files else None,
        )
        for k, (name, array) in enumerate(results.items())
    )  # fmt: skip
    return RunObject(
        bundle=bundle, parts=dict(ran), frames=frames, first_ms=seconds[0] * 1e3,
        times=TimesObject.of(Times.of(seconds[1:])) if seconds[1:] else None,
        outputs=tuple(outputs),
    )  # fmt: skip


def _folder(out: str) -> Path:
    """The folder for results, made before anything runs."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(f"cannot write '{out}'", why=why, hint="choose another --out") from error
    return folder


def _write(folder: Path, results: Mapping[str, Array]) -> list[str]:
    """Write results under the names that `splitc-run` gives them, each whole or not at all."""
    import numpy as np

    names = [f"{k}.npy" for k in range(len(results))]
    try:
        for name, array in zip(names, results.values(), strict=True):
            beside = folder / f".{name}.new"
            with beside.open("wb") as file:
                np.save(file, array)
            beside.replace(folder / name)
    except OSError as error:
        why = error.strerror or str(error)
        hint = "choose another --out"
        raise OutputError(f"cannot write '{folder}'", why=why, hint=hint) from error
    return names
