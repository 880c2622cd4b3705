# SPDX-License-Identifier: Apache-2.0
"""What `splitc diff` and `splitc baseline` print with `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from splitc.cli.objects import Printed
from splitc.figures.baseline import Baseline
from splitc.figures.diff import Change, FigureChange

if TYPE_CHECKING:
    from splitc.figures.diff import Diff


class SideObject(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two: the bundle's name and digest, and the model that it is of."""

    name: str
    digest: str
    model: str
    model_sha256: str

    @staticmethod
    def of(one: Baseline) -> SideObject:
        """What is known of a bundle."""
        return SideObject(
            name=one.name, digest=one.digest, model=one.source.name, model_sha256=one.source.sha256
        )


class DiffObject(Printed, frozen=True, kw_only=True):
    """`splitc diff`: what changed in words, every figure of both, how many are worse than their
    tolerance, and what was not compared."""

    old: SideObject
    new: SideObject
    changes: tuple[Change, ...]
    figures: tuple[FigureChange, ...]
    regressions: int
    notes: tuple[str, ...]

    @staticmethod
    def of(found: Diff) -> DiffObject:
        """What was found."""
        return DiffObject(
            old=SideObject.of(found.old), new=SideObject.of(found.new), changes=found.changes,
            figures=found.figures, regressions=len(found.regressions), notes=found.notes,
        )  # fmt: skip


class BaselineObject(Printed, frozen=True, kw_only=True):
    """`splitc baseline`: the file that was written, and what is in it."""

    file: str
    baseline: Baseline
