# SPDX-License-Identifier: Apache-2.0
"""Hold bundles against what was kept of the last release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from splitc.builds.messages import Failure
from splitc.builds.run import Builds, Outcome
from splitc.bundle import pack
from splitc.bundle.bundle import SUFFIX
from splitc.errors import GateError, SplitcError, UsageError
from splitc.figures import baseline as baselines
from splitc.figures.diff import Diff, Tolerance, diff
from splitc.runtime.manifest import MANIFEST


@dataclass(frozen=True)
class Compared:
    """A bundle beside the last release.

    Args:
        outcome: What became of the bundle, which is there.
        baseline: What was kept of it; None where nothing was: it is new.
        diff: What changed; None where there is nothing to compare, or it cannot be.
        failure: Why it cannot be compared, or which figures got worse beyond their tolerance.
    """

    outcome: Outcome
    baseline: Path | None
    diff: Diff | None = None
    failure: Failure | None = None


def refuse_baseline(baseline: str | Path, tolerances: Sequence[str] = ()) -> None:
    """Refuse what nothing can be compared with, before anything is built.

    Raises:
        UsageError: There is nothing at the baseline's path, or a tolerance is malformed.
    """
    if not Path(baseline).exists():
        hint = "a bundle, a file of splitc baseline, or a folder of them"
        raise UsageError(f"there is no baseline '{baseline}'", hint=hint)
    for text in tolerances:
        for one in text.split(";"):
            Tolerance.parse(one)


def compare(
    builds: Builds, baseline: str | Path, tolerances: Sequence[str] = ()
) -> tuple[Compared, ...]:
    """Compare each bundle that is there with the last release. One that fails stops no other.

    Args:
        builds: What was built.
        baseline: A bundle, a packed one or a baseline file, with which all are compared; or a
            folder that holds one for each, named like it.
        tolerances: How much worse figures may get, as `splitc.figures.diff` takes them.

    Raises:
        UsageError: See `refuse_baseline`.
    """
    refuse_baseline(baseline, tolerances)
    return tuple(
        _compared(outcome, kept_of(outcome.entry.output, Path(baseline)), tolerances)
        for outcome in builds.outcomes
        if outcome.there
    )


def kept_of(output: Path, where: Path) -> Path | None:
    """What was kept of a bundle: `where` itself, or what lies there and is named like it, which is
    not what was just built there."""
    if where.is_file() or (where / MANIFEST).is_file():
        return where
    name = output.name.removesuffix(SUFFIX)
    names = (output.name, f"{name}{baselines.SUFFIX}", f"{output.name}{pack.SUFFIX}")
    there = (where / name for name in names if (where / name).exists())
    return next((one for one in there if one.resolve() != output.resolve()), None)


def _compared(outcome: Outcome, kept: Path | None, tolerances: Sequence[str]) -> Compared:
    if kept is None:
        return Compared(outcome, None)
    try:
        if kept.resolve() == outcome.entry.output.resolve():
            hint = "keep that of the last release elsewhere"
            raise UsageError("the baseline is the bundle itself", at=str(kept), hint=hint)
        found = diff(kept, outcome.entry.output, tolerances=tolerances)
    except SplitcError as error:
        return Compared(outcome, kept, failure=Failure.of(error))
    try:
        found.require()
    except GateError as error:
        return Compared(outcome, kept, found, Failure.of(error))
    return Compared(outcome, kept, found)
