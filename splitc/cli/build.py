# SPDX-License-Identifier: Apache-2.0
"""`splitc build`: many bundles from one file, or some networks with the same options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o
from splitc.cli.build_after import AfterFlags, exit_code
from splitc.cli.compile_flags import CompileFlags
from splitc.cli.gates import FailOn
from splitc.cli.spread import spread
from splitc.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from splitc.builds.entry import Entry
    from splitc.builds.messages import Failure
    from splitc.builds.run import Builds, Outcome

_FLAGS = CompileFlags()
_AFTER = AfterFlags()
_FILE = "splitc.toml"
BUILD = "Build"


@spread
def build(
    ctx: typer.Context,
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE.toml|MODEL…]", show_default=False,
                       help="A file with [b]\\[\\[bundle]][/] tables \\[splitc.toml], or networks "
                       "for the options of [b]splitc compile[/] below."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", metavar="N", min=1, rich_help_panel=BUILD,
                     help="Processes that compile; one a core, as memory allows."),
    ] = None,
    cache: Annotated[
        str | None,
        typer.Option("--cache", metavar="DIR", envvar="SPLITC_BUILD_CACHE", rich_help_panel=BUILD,
                     help="Keep finished bundles there by what they were built from, and take "
                     "them from there."),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option("--prune", rich_help_panel=BUILD,
                     help="Take out of the cache what this build did not ask for."),
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", rich_help_panel=BUILD,
                     help="Compile on a Ray cluster: [b]auto[/], HOST:PORT, or [b]local[/]."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", "-n", rich_help_panel=BUILD,
                     help="Say what would be built and why, and build nothing."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", "-f", rich_help_panel=BUILD, help="Build what is current too."),
    ] = False,
    print_key: Annotated[
        bool,
        typer.Option("--print-key", rich_help_panel=BUILD,
                     help="Print one digest of all that the bundles are built from, for caches of "
                     "CI, and build nothing."),
    ] = False,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", rich_help_panel=BUILD,
                     help="Of networks: where to, like [b]'out/{model}-{target}.splitc'[/]."),
    ] = None,
    fail_on: FailOn = None,
    after: AfterFlags = _AFTER,
    flags: CompileFlags = _FLAGS,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Build many bundles, what did not change not again, in processes beside each other."""
    from splitc.builds.run import build_all
    from splitc.cli import show

    if prune and not cache:
        raise UsageError("--prune without a cache", hint="name it: --cache DIR")
    after.refuse()
    entries = _entries(ctx, what or [_FILE], flags, output)
    with show.progress(quiet) as step:
        lines = not show.err().is_terminal
        builds = build_all(
            entries, jobs=jobs, cache=cache, dry_run=dry_run or print_key, force=force, ray=ray,
            fail_on=fail_on or (),
            progress=(lambda _: None) if lines else step,
            done=(lambda one: _tell(one, step)) if lines else lambda _: None,
        )  # fmt: skip
    if print_key:
        _refuse_failed(builds)
        print(builds.key)
        return
    if prune and cache and not dry_run:
        from splitc.builds.cache import Cache

        Cache(Path(cache)).prune({one.key.digest for one in builds.outcomes if one.key})
    compared = after.compare(builds)
    after.write(builds, compared)
    if json:
        from splitc.cli.build_object import BuildObject

        show.print_json(BuildObject.of(builds, compared))
    else:
        _print(builds, quiet=quiet)
        for each in compared:
            if each.failure is not None:
                _print_failure(each.outcome, each.failure)
    if code := exit_code(builds, compared):
        raise typer.Exit(code)


def _entries(
    ctx: typer.Context, what: Sequence[str], flags: CompileFlags, output: str | None
) -> Sequence[Entry]:
    """What a file says to build, or networks with the flags."""
    from splitc.builds.build_file import distinct, entry_of, read_build_file

    files = [name for name in what if name.endswith(".toml")]
    if not files:
        several = ("model",) if len(what) > 1 else ()
        return distinct(
            entry_of(flags.options(model), Path(), output or "", several=several) for model in what
        )
    if len(what) > 1:
        raise UsageError("one file, or networks", why=" ".join(what))
    given = [
        param.opts[0]
        for param in ctx.command.params
        if param.name == "output" or param.name in CompileFlags.__dataclass_fields__
        if (source := ctx.get_parameter_source(str(param.name))) and source.name == "COMMANDLINE"
    ]
    if given:
        hint = f"write it into {files[0]}, or name the network here"
        raise UsageError(f"{given[0]} and a file that says what to build", hint=hint)
    return read_build_file(Path(files[0]))


def _refuse_failed(builds: Builds) -> None:
    """A key of what cannot be built would be one for a cache of nothing."""
    for outcome in builds.failed:
        assert outcome.failure is not None
        raise UsageError(f"{outcome.entry.named}: {outcome.failure.what}", why=outcome.failure.why,
                         hint=outcome.failure.hint)  # fmt: skip


_STATES = {
    "built": "green", "cached": "green", "current": "dim", "planned": "yellow", "failed": "red",
}  # fmt: skip


def _tell(outcome: Outcome, step: Callable[[str], None]) -> None:
    """Say what became of a bundle, in a line, where something did."""
    if outcome.state == "current":
        return
    took = f" in {outcome.seconds:.1f} s" if outcome.state == "built" else ""
    why = outcome.failure.what if outcome.failure else outcome.why
    step(f"{outcome.entry.named}: {outcome.state}{took}{f' ({why})' if why else ''}")


def _print(builds: Builds, *, quiet: bool) -> None:
    from splitc.cli import show

    console = show.out()
    console.print(_table(builds))
    for outcome in builds.outcomes:
        for note in outcome.notes:
            show.err().print(show.plain(f"note: {outcome.entry.named}: {note}"))
    for outcome in builds.failed:
        assert outcome.failure is not None
        _print_failure(outcome, outcome.failure)
    for outcome in builds.outcomes:
        for one in outcome.gates:
            if not one.passed:
                line = f"gate {one.gate} FAILS: {outcome.entry.named}: {one.why}"
                console.print(show.plain(line), style="bold red")
    if not quiet:
        console.print(_summary(builds), style="dim")


def _print_failure(outcome: Outcome, failure: Failure) -> None:
    from splitc.cli import show

    lines = [f"{outcome.entry.named}: {failure.error}: {failure.what}"]
    pairs = (("at", failure.at), ("why", failure.why), ("hint", failure.hint))
    lines += [f"{label:>6}: {text}" for label, text in pairs if text]
    for line in lines:
        show.err().print(show.plain(line), style="red" if line is lines[0] else "")


def _summary(builds: Builds) -> str:
    states = [outcome.state for outcome in builds.outcomes]
    words = {"planned": "to build", "cached": "from the cache"}
    counts = [
        f"{states.count(state)} {words.get(state, state)}" for state in _STATES if state in states
    ]
    gates = [one for outcome in builds.outcomes for one in outcome.gates]
    held = sum(one.passed for one in gates)
    return ", ".join(counts) + (f"; {held} of {len(gates)} gates hold" if gates else "")


def _table(builds: Builds) -> Table:
    from rich.table import Table
    from rich.text import Text

    from splitc.cli import show
    from splitc.cli.build_object import cut_of, route_of

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("bundle", overflow="fold", ratio=1)
    table.add_column("for", no_wrap=True, overflow="ellipsis", max_width=14)
    table.add_column("cut after", no_wrap=True, overflow="ellipsis", max_width=16)
    table.add_column("crosses", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    planned = any(outcome.state == "planned" for outcome in builds.outcomes)
    table.add_column("why", overflow="fold", ratio=1) if planned else None
    for outcome in builds.outcomes:
        route, options = route_of(outcome), outcome.entry.options
        cells: list[Text | str] = [
            show.plain(outcome.entry.named),
            show.plain(Path(options.target).stem),
            show.plain(cut_of(outcome) or options.cuts or options.cut),
            show.short_bytes(route.boundary_bytes) if route else "",
            Text(outcome.state, style=_STATES[outcome.state] if outcome.passed else "bold red"),
            f"{outcome.seconds:.1f}" if outcome.seconds else "",
        ]
        table.add_row(*cells, *([show.plain(outcome.why)] if planned else []))
    return table
