# SPDX-License-Identifier: Apache-2.0
"""Why a route's cut is the best: the proof in the manifest, and what it rests on beside it."""

from __future__ import annotations

from pathlib import Path

from splitc.build.job import Job
from splitc.build.routes import RouteJob
from splitc.bundle.proof_file import write_proof
from splitc.ir.proof import Given, Proof
from splitc.search.cutter import Cutter
from splitc.search.evidence import Evidence, Tried
from splitc.search.table import CutTable


def proof_of(job: Job, route: RouteJob) -> Proof:
    """Why the cut is the best, where it is the one that was found."""
    found = job.table.solution
    if found is not None and _is_found(job, route):
        return found.proof
    return Given(value=job.table.value(route.row))


def write_evidence(folder: Path, job: Job) -> None:
    """Write what the proof of the cut that was found rests on, where a route has that cut."""
    for route in job.routes:
        if _is_found(job, route):
            write_proof(folder, route.name, evidence_of(job.table, job.scenario.cutter))
            return


def evidence_of(table: CutTable, asked: Cutter | None) -> Evidence:
    """What the proof of a table's solution rests on.

    Args:
        table: The table.
        asked: The cutter that was named; None where none was.
    """
    problem, found = table.problem, table.solution
    assert found is not None
    assert not isinstance(found.proof, Given)
    if problem.codec is not None and not table.named:
        return Evidence.of(problem, tried=[Tried.of(row, table.value(row)) for row in table.rows])
    if not found.proof.cutter:
        return Evidence.of(problem)
    cutter = asked or Cutter.parse(found.proof.cutter)
    return cutter.evidence(problem, found)


def _is_found(job: Job, route: RouteJob) -> bool:
    found = job.table.solution
    if found is None or isinstance(found.proof, Given):
        return False
    asked = route.codec == job.table.problem.codec
    return asked and found.where.cut == route.row.cut
