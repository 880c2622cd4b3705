# SPDX-License-Identifier: Apache-2.0
"""What `splitc build --json` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from splitc.builds.messages import Failure
from splitc.cli.objects import Printed
from splitc.figures.diff import FigureChange
from splitc.figures.gate import Verdict
from splitc.runtime.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitc.builds.compare import Compared
    from splitc.builds.run import Builds, Outcome
    from splitc.runtime.manifest import Route


class ComparedObject(msgspec.Struct, frozen=True):
    """A bundle beside the last release: the path of what was kept of it, null where nothing was;
    figures that are worse by more than their tolerance; why it fails, null where it does not."""

    baseline: str | None
    regressions: tuple[FigureChange, ...]
    failure: Failure | None

    @staticmethod
    def of(compared: Compared) -> ComparedObject:
        """What was found."""
        return ComparedObject(
            str(compared.baseline) if compared.baseline else None,
            compared.diff.regressions if compared.diff else (),
            compared.failure,
        )


class BuiltObject(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one bundle: `built`, `cached`, `current`, `planned` or `failed`, and why it
    was not current. `key` is null where the inputs of its build are not known, or are wrong;
    `cut`, `boundary_bytes` and `digest`, the sha256 of its manifest, where there is no bundle;
    `compared` where there is no baseline."""

    output: str
    model: str
    target: str
    tail_target: str
    options: dict[str, Any]
    state: str
    why: str
    key: str | None
    digest: str | None
    seconds: float
    cut: str | None
    boundary_bytes: int | None
    notes: tuple[str, ...]
    failure: Failure | None
    gates: tuple[Verdict, ...]
    compared: ComparedObject | None

    @staticmethod
    def of(outcome: Outcome, compared: Compared | None = None) -> BuiltObject:
        """What became of it."""
        options, route = outcome.entry.options, route_of(outcome)
        return BuiltObject(
            output=outcome.entry.named,
            model=options.model,
            target=options.target,
            tail_target=options.tail_target,
            options=outcome.key.options if outcome.key else {},
            state=outcome.state,
            why=outcome.why,
            key=outcome.key.digest if outcome.key else None,
            digest=digest_of(outcome),
            seconds=round(outcome.seconds, 3),
            cut=cut_of(outcome),
            boundary_bytes=route.boundary_bytes if route else None,
            notes=outcome.notes,
            failure=outcome.failure,
            gates=outcome.gates,
            compared=ComparedObject.of(compared) if compared else None,
        )


class BuildObject(Printed, frozen=True):
    """`splitc build`: what became of each bundle, how many of them in each way, and one digest of
    all keys, for caches."""

    key: str
    built: int
    cached: int
    current: int
    planned: int
    failed: int
    bundles: tuple[BuiltObject, ...]

    @staticmethod
    def of(builds: Builds, compared: Sequence[Compared] = ()) -> BuildObject:
        """What the verb prints."""
        beside = {each.outcome.entry.output: each for each in compared}
        states = [outcome.state for outcome in builds.outcomes]
        return BuildObject(
            key=builds.key, built=states.count("built"), cached=states.count("cached"),
            current=states.count("current"), planned=states.count("planned"),
            failed=states.count("failed"),
            bundles=tuple(
                BuiltObject.of(each, beside.get(each.entry.output)) for each in builds.outcomes
            ),
        )  # fmt: skip


def route_of(outcome: Outcome) -> Route | None:
    """The default route of a bundle that is there."""
    if not outcome.there:
        return None
    return read_manifest(outcome.entry.output, Manifest).route


def cut_of(outcome: Outcome) -> str | None:
    """After which layers a bundle that is there is cut; "device" or "server" where it is not."""
    if not outcome.there:
        return None
    found = read_manifest(outcome.entry.output, Manifest)
    where = found.where(found.route)
    return where.removeprefix("cut after ").removeprefix("all on the ")


def digest_of(outcome: Outcome) -> str | None:
    """Sha256 of the manifest of a bundle that is there."""
    from splitc.runtime.files import file_entry
    from splitc.runtime.manifest import MANIFEST

    if not outcome.there:
        return None
    return file_entry(outcome.entry.output / MANIFEST).sha256
