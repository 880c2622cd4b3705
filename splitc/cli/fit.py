# SPDX-License-Identifier: Apache-2.0
"""`splitc fit`: a cost model from profiles, for networks that were never measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o

if TYPE_CHECKING:
    from rich.table import Table

    from splitc.cost.profile import Profile
    from splitc.cost.regression import Fit


def fit(
    profiles: Annotated[
        list[str],
        typer.Argument(metavar="[MODEL=]PROFILE.json…", help="What [b]splitc profile[/] wrote of "
                       "networks on one machine; with its MODEL before it where a profile does "
                       "not say what the layers do."),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="File to write.")
    ] = "fit.json",
    machine: Annotated[
        str,
        typer.Option("--machine", metavar="TEXT",
                     help="The machine, where the profiles name it differently."),
    ] = "",
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Fit times of layers by kind to PROFILES, for --profile with any network."""
    from splitc.cli import show
    from splitc.cost.regression import fit as fitted
    from splitc.cost.regression import write_fit

    with show.progress(quiet) as step:
        step(f"reading {len(profiles)} profile{'' if len(profiles) == 1 else 's'}")
        made = fitted([_read(text) for text in profiles], machine)
    write_fit(output, made)
    if json:
        from splitc.cli.fit_object import FitObject

        show.print_json(FitObject(file=output, fit=made))
        return
    _print(made, quiet=quiet)
    if not quiet:
        show.next_line(f"splitc cuts MODEL --profile {output}")


def _read(text: str) -> Profile:
    """A profile with its network's name and what its layers do: from a model, where one is named.

    Raises:
        UsageError: There is no such file, or it is no profile of that network.
        BadModelError: The network cannot be read.
    """
    from msgspec.structs import replace

    from splitc.cost.profile import of_network, read_profile
    from splitc.ir.graph import LayerGraph

    model, equals, path = text.rpartition("=")
    if not equals or Path(text).is_file():
        found = read_profile(text)
        return found if found.network else replace(found, network=Path(text).stem)
    found = read_profile(path)
    loaded = o.ModelOptions(model, inputs=None, simplify=True, max_bytes="8GiB").load_graph()
    graph = loaded if isinstance(loaded, LayerGraph) else loaded.graph
    return of_network(found, graph, found.network or Path(model).stem)


def _print(made: Fit, *, quiet: bool) -> None:
    """The terms of each kind, what takes most first; and how far off they are."""
    from splitc.cli import show

    console = show.out()
    count = len(made.networks)
    console.print(
        f"times of {count} network{'' if count == 1 else 's'} on {made.machine}", soft_wrap=True
    )
    console.print(_table(made))
    if not quiet:
        console.print(
            "A layer takes so many ms, and those a GFLOP, a MB of tensors, a MB of weights."
        )
    found = made.validation
    if found is None:
        console.print("One network: how far off this is for another is not known.")
        return
    console.print("Each network left out in turn and predicted by a fit to the others:")
    console.print(f"  layers off by {found.layers:.0%} of the time")
    console.print(f"  networks off by {found.total:.0%}, in the mean")
    for name, share in found.networks.items():
        console.print(show.plain(f"    {name} {share:.0%}"), soft_wrap=True)


def _table(made: Fit) -> Table:
    from rich.table import Table

    from splitc.cli import show

    view = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    view.add_column("kind", overflow="fold")
    names = ("layers", "of time", "ms", "/GFLOP", "/MB", "/weight MB", "off by")
    for name in names:
        view.add_column(name, justify="right", no_wrap=True)
    off = {} if made.validation is None else made.validation.kinds
    for kind, share in made.shares.items():
        one = made.kinds[kind]
        terms = (one.constant_ms, one.ms_per_gflop, one.ms_per_tensor_mb, one.ms_per_weight_mb)
        view.add_row(
            show.plain(kind), str(one.layers), f"{share:.1%}", *(f"{term:.4g}" for term in terms),
            f"{off[kind]:.0%}" if kind in off else "",
        )  # fmt: skip
    return view
