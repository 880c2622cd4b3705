# SPDX-License-Identifier: Apache-2.0
"""`splitc profile`: what each layer takes on a machine, as its compiled code computes it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o
from splitc.errors import OutputError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from splitc.cost.profile import Profile

_ROWS = 20
_APART, _CALL_MS = 0.1, 0.05
"""Of the network's time, and more than a call of its code takes besides."""


def profile(
    model: o.ModelPath,
    target: Annotated[
        str,
        typer.Option("--target", metavar="BOARD", help="What to compile for: this machine's "
                     "processor, another board whose code it runs, or that of --static or --rpc."),
    ] = "host",
    static: Annotated[
        bool,
        typer.Option("--static", help="Predict the times on an ARM board from the code that is "
                     "emitted for it: a lower bound, no board at hand."),
    ] = False,
    rpc: Annotated[
        str | None,
        typer.Option("--rpc", metavar="HOST:PORT[,KEY]", envvar="SPLITC_RPC",
                     help="Measure on a board that runs TVM's RPC server, or that a tracker "
                     "knows by KEY."),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="N", help="With --rpc: how long to run it there.")
    ] = 10.0,
    cuts: Annotated[
        str | None,
        typer.Option("--cuts", metavar="CUT,CUT,…",
                     help="Nested cuts that end kernels, as they do in a bundle that is cut "
                     "there; [b]+[/] between the layers of one."),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", min=3, max=10_000, help="Runs that count.")
    ] = 30,
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", min=1, max=256,
                     help="Of compiled code; one a core by default."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE.json",
                     help="File to write; by default NAME.profile.json."),
    ] = None,
    inputs: o.Inputs = None,
    simplify: o.Simplify = True,
    preprocess: o.Preprocess = None,
    to_torch: o.ToTorch = False,
    max_bytes: o.MaxBytes = "8GiB",
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Measure the layers of MODEL on this machine, in its compiled code, for --profile.

    With --rpc on another machine; with --static they are predicted for one.
    """
    from splitc.build import profile_here, profile_rpc, profile_static
    from splitc.build.backend import EMIT, warm_up
    from splitc.cli import show
    from splitc.cost.profile import write_profile

    _refuse_together(static=static, rpc=rpc, cuts=cuts, threads=threads)
    if output is not None and not Path(output).parent.is_dir():
        raise OutputError(f"cannot write '{output}'", why="there is no such folder")
    read = o.ModelOptions(model, inputs, simplify, max_bytes, to_torch, preprocess)
    with show.progress(quiet) as step:
        step(f"reading {model}")
        loaded = read.load(lambda: warm_up(EMIT))
        if static:
            made = profile_static.static_profile(
                loaded, target=target, name=read.name, progress=step
            )
        elif rpc is not None:
            made = profile_rpc.rpc_profile(
                loaded, rpc, target=target, seconds=seconds, threads=threads, name=read.name,
                progress=step,
            )  # fmt: skip
        else:
            made = profile_here.profile(
                loaded, target=target, threads=threads, rounds=rounds, name=read.name,
                cuts=[one.strip() for one in cuts.split(",")] if cuts else (), progress=step,
            )  # fmt: skip
    place = output or f"{made.network}.profile.json"
    write_profile(place, made)
    if json:
        from splitc.cli.profile_object import ProfileObject

        show.print_json(ProfileObject(file=place, kernels_ms=kernels_ms(made), profile=made))
        return
    _print(made)
    show.out().print(show.plain(f"wrote {place}"))
    if not quiet:
        following = f"splitc cuts {model} --target {target} --profile {place}"
        show.out().print("\nNext:", show.plain(following))


def _refuse_together(
    *, static: bool, rpc: str | None, cuts: str | None, threads: int | None
) -> None:
    """Raise where options are given that do nothing together.

    Raises:
        UsageError: They are.
    """
    elsewhere = "--static" if static else "--rpc" if rpc is not None else ""
    given = {"--rpc": static and rpc is not None, "--cuts": cuts is not None,
             "--threads": static and threads is not None}  # fmt: skip
    useless = next((name for name, there in given.items() if there), None)
    if elsewhere and useless:
        raise UsageError(f"{useless} does nothing with {elsewhere}", hint=f"leave {useless} out")


def kernels_ms(made: Profile) -> float:
    """What all kernels take together."""
    return sum(kernel.ms for kernel in made.kernels)


def _print(made: Profile) -> None:
    """Kernels that take most; then their sum beside the whole network, and what blurs them."""
    from splitc.cli import show

    console = show.out()
    console.print(show.plain(f"{made.network} on {made.machine}"))
    console.print(_table(made))
    rest = len(made.kernels) - _ROWS
    if rest > 0:
        console.print(f"and {rest} calls of kernels that take less")
    whole = made.whole
    total = kernels_ms(made)
    if whole is None:
        console.print(f"{len(made.kernels)} calls take {total:,.{show.decimals(total)}f} ms")
        console.print(show.plain(made.note))
        return
    off = abs(total - whole.ms) / whole.ms if whole.ms else 0.0
    digits = show.decimals(total)
    console.print(
        f"{len(made.kernels)} calls take {total:,.{digits}f} ms, "
        f"the network run as it is {whole.ms:,.{digits}f} ms: {off:.1%} apart"
    )
    spread = f"{whole.spread_ms / whole.ms if whole.ms else 0.0:.0%}"
    console.print(f"medians of {whole.rounds} rounds, half of which lie within {spread}")
    if whole.left_out:
        console.print(f"rounds left out, as other programs ran meanwhile: {whole.left_out}")
    if whole.disturbed:
        console.print("Other programs ran in nearly every round: these times are uncertain.",
                      style="yellow")  # fmt: skip
    elif off > _APART and abs(total - whole.ms) > _CALL_MS:
        console.print("That is far apart: measure again before you rely on it.", style="yellow")
    console.print(f"load before: {whole.load:.1f} programs on {os.cpu_count()} cores")


def _table(made: Profile) -> Table:
    from rich.table import Table

    from splitc.cli import show

    view = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    view.add_column("layers", no_wrap=True, overflow="ellipsis", max_width=36)
    view.add_column("kernel", no_wrap=True, overflow="ellipsis", max_width=14)
    for name in ("ms", "spread", "share"):
        view.add_column(name, justify="right", no_wrap=True)
    total = kernels_ms(made) or 1.0
    digits = show.decimals(total)
    for kernel in sorted(made.kernels, key=lambda one: -one.ms)[:_ROWS]:
        view.add_row(
            show.plain(show.layer_run(kernel.layers, 36)), show.plain(kernel.name),
            f"{kernel.ms:,.{digits}f}", f"{kernel.spread_ms:,.{digits}f}",
            f"{kernel.ms / total:.1%}",
        )  # fmt: skip
    return view
