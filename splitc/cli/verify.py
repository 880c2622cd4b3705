# SPDX-License-Identifier: Apache-2.0
"""`splitc verify`: head and tail against the unsplit model's golden vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import gates
from splitc.cli import options as o
from splitc.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from splitc.bundle.bundle import Bundle
    from splitc.bundle.difference import Difference
    from splitc.bundle.proof_file import ProofCheck
    from splitc.bundle.verify import Verification
    from splitc.runtime.codec_entry import CodecEntry
    from splitc.runtime.manifest import Manifest, Route


def verify(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder written by compile.")],
    emulate: Annotated[
        bool, typer.Option("--emulate", help="Run the real parts of another ISA under qemu.")
    ] = False,
    fail_on: gates.FailOn = None,
    run: Annotated[
        bool, typer.Option("--run/--no-run", help="Run the parts, or check files alone.")
    ] = True,
    signer: Annotated[
        str | None,
        typer.Option("--signer", metavar="PUBLIC_KEY", envvar="SPLITC_SIGNER",
                     help="Refuse what [b]splitc sign[/] did not sign with the key of this one."),
    ] = None,
    again: Annotated[
        str | None,
        typer.Option("--rebuild", metavar="MODEL",
                     help="Compile MODEL again as the bundle says it was, and compare every byte; "
                     "nothing is run."),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option("--calibrate", metavar="FILE.npz", help="For --rebuild: the sample inputs."),
    ] = None,
    by_plan: Annotated[
        str | None, typer.Option("--plan", metavar="FILE.json", help="For --rebuild: the plan.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="FILE", help="For --rebuild: the device's profile."),
    ] = None,
    tail_profile: Annotated[
        str | None,
        typer.Option("--tail-profile", metavar="FILE", help="For --rebuild: the server's."),
    ] = None,
    measured: Annotated[
        str | None,
        typer.Option("--measured", metavar="FILE", help="For --rebuild: the measured times."),
    ] = None,
    importance: Annotated[
        str | None,
        typer.Option("--importance", metavar="FILE", help="For --rebuild: what i-split read."),
    ] = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Check every file's hash and the cut's proof, then head and tail on golden vectors."""
    from splitc.bundle.bundle import Bundle, require
    from splitc.cli import show
    from splitc.cli.objects import VerifyObject

    files = {
        "calibrate": calibrate, "plan": by_plan, "profile": profile, "tail_profile": tail_profile,
        "measured": measured, "importance": importance,
    }  # fmt: skip
    given = {option: path for option, path in files.items() if path is not None}
    if given and again is None:
        option = min(given).replace("_", "-")
        raise UsageError(f"--{option} is for --rebuild MODEL")
    opened, known = Bundle.open(bundle), None
    wanted = gates.read_gates(fail_on, "verify", opened.manifest)
    if wanted and (again is not None or not run):
        raise UsageError("--fail-on holds what ran to its limits", hint="leave out --no-run")
    if signer is not None:
        known = opened.check_signature(Path(signer))
        if not json:
            show.out().print(f"signed by the key in {signer}", soft_wrap=True)
    if again is not None or not run:
        _files(opened, known, again, given, json=json, quiet=quiet)
        return
    with show.progress(quiet) as step:
        step("checking files, running head and tail")
        found = opened.verify(emulate=emulate)
    codec = opened.manifest.route.codec
    printed = VerifyObject.of(found, codec.cost if codec else None, known)
    printed = gates.judged(printed, wanted, opened.manifest)
    if json:
        show.print_json(printed)
        if not found.passed:
            raise typer.Exit(7)
        gates.close(printed.gates, json=True)
        return
    require(found)
    _print(bundle, opened, found, quiet=quiet)
    gates.close(printed.gates, json=False)


def _print(bundle: str, opened: Bundle, found: Verification, *, quiet: bool) -> None:
    """What was found, and what to type next."""
    from splitc.bundle.rounding import unsteady_samples
    from splitc.cli import show
    from splitc.cost.board import host_isa
    from splitc.cost.topology import DEVICE

    console = show.out()
    manifest = opened.manifest
    single = len(manifest.routes) == 1
    judged = _judged(manifest.route, found) if single else _by_route(manifest, found)
    costs = show.cost_lines(manifest.route.codec) if single else ()
    made = show.quantized_lines(manifest)
    for line in (*judged, *_others(found), *made, *costs, *_proved(manifest, found.proofs)):
        console.print(line, markup=False)
    for line in unsteady_samples(manifest):
        console.print(line, markup=False, soft_wrap=True)
    for line in show.ran_lines({name: one.how for name, one in found.ran.items()}):
        console.print(line)
    for line in show.not_run(opened, found):
        console.print(line, style="yellow", soft_wrap=True)
    worst = f"worst {found.worst.relative:.1e}, tolerance {found.tolerance:.0e}"
    console.print(f"verified: {worst}, {show.samples(found)}", style="bold green")
    if quiet:
        return
    twins = [
        name for name, one in found.ran.items()
        if one.how.startswith("host build") and opened.part(name).isa != host_isa()
    ]  # fmt: skip
    if twins:
        which = " and ".join(twins) if len(twins) < 3 else f"{len(twins)} parts"
        emulated = f"\nNext: splitc verify {bundle} --emulate   (the real {which}, under qemu)"
        console.print(emulated, soft_wrap=True)
    parts = opened.manifest.parts
    if any(parts[name].site == DEVICE for name in twins):
        folders = manifest.route.before[0] if single else "head-*"
        console.print(f"  or: scp -r {bundle}/{folders} pi@raspberrypi:", soft_wrap=True)


def _files(
    opened: Bundle, signer: str | None, model: str | None, given: Mapping[str, str], *,
    json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Check files alone, and where there is a model compare what it compiles to."""
    from splitc.cli import show
    from splitc.cli.objects import ProofObject
    from splitc.cli.pack_object import FilesObject, RebuiltObject

    rebuilt = None
    with show.progress(quiet) as step:
        step("checking files")
        opened.check()
        proofs = opened.check_proofs()
        if model is not None:
            from splitc.build.rebuild import rebuild

            rebuilt = rebuild(opened, model, files=given, progress=step)
    count = len(opened.manifest.files) + 1
    if json:
        told = None if rebuilt is None else RebuiltObject.of(rebuilt)
        show.print_json(
            FilesObject(
                digest=opened.digest, files=count, signer=signer, rebuilt=told,
                proofs=ProofObject.of(proofs),
            )
        )  # fmt: skip
        if rebuilt is not None and not rebuilt.same:
            raise typer.Exit(7)
        return
    if rebuilt is not None:
        rebuilt.require()
    for line in _proved(opened.manifest, proofs):
        show.out().print(line, markup=False)
    what = "are what the manifest lists; nothing was run"
    if rebuilt is not None:
        what = f"have the same bytes when {model} is compiled again"
    show.out().print(f"verified: all {count} files {what}", style="bold green", soft_wrap=True)


def _judged(route: Route, found: Verification) -> Iterator[str]:
    """What was found of the one route of a bundle, a tensor a line."""
    check = found.routes[route.name]
    inside = " with the codec" if route.codec else ""
    judged = (("boundary", "", check.boundary), ("result", inside, check.outputs),
              ("result", _over(route.codec), check.received))  # fmt: skip
    for what, where, differences in judged:
        yield from (_line(what, where, one) for one in differences)


def _by_route(manifest: Manifest, found: Verification) -> Iterator[str]:
    """What was found of each of several routes, a line each: its worst result."""
    for name, check in found.routes.items():
        worst = max((*check.results, *check.boundary), key=lambda one: one.relative)
        same = ", same arg-max" if all(one.same_argmax for one in check.results) else ""
        codec = manifest.route_named(name).codec
        agrees = f"; codec agrees {codec.cost.agreement:.1%}" if codec and codec.cost else ""
        yield f"route {name}: worst error {worst.relative:.1e}{same}{agrees}"


def _others(found: Verification) -> Iterator[str]:
    """What was found of parts that are on no route."""
    for name, differences in found.others.items():
        yield from (_line("result", f" by {name}", one) for one in differences)


def _proved(manifest: Manifest, proofs: tuple[ProofCheck, ...]) -> Iterator[str]:
    """What was found of the proof of each route's cut, a line each."""
    for one in proofs:
        of = f" of route {one.route}" if len(manifest.routes) > 1 else ""
        held = "holds, at recorded prices" if one.again else "not checked again"
        yield f"proof{of} {held}: {one.words}"


def _line(what: str, where: str, one: Difference) -> str:
    same = ", same arg-max" if one.same_argmax and what == "result" else ""
    return f"{what} {one.name}{where}: relative error {one.relative:.1e}{same}"


def _over(codec: CodecEntry | None) -> str:
    """The channels that received values went over, in words."""
    if codec is None:
        return ""
    return " over " + ", ".join(f"{one.op}({one.settings})" for one in codec.channels)
