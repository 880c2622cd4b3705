# SPDX-License-Identifier: Apache-2.0
"""The objects that verbs print with `--json`: versioned, published by `splitc schema`.

What is printed whole has the number of their schema. It changes whenever one of them loses a
field, or a field changes its meaning; fields may be added without.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec

from splitc.cli.codec_lines import BroughtObject, ChoiceObject
from splitc.figures.gate import Verdict
from splitc.ir.proof import Proof
from splitc.runtime.codec_entry import CodecCost
from splitc.search.pareto import front
from splitc.search.problem import WHOLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from splitc.build.backend import Unsupported
    from splitc.bundle.difference import Difference
    from splitc.bundle.measure import Measured, Times
    from splitc.bundle.proof_file import ProofCheck
    from splitc.bundle.verify import RouteCheck, Verification
    from splitc.errors import SplitcError
    from splitc.ir.graph import Tensor
    from splitc.link.link import Link
    from splitc.search.pareto import Figure
    from splitc.search.problem import CutRow
    from splitc.search.table import CutTable

SCHEMA = 1


class Printed(msgspec.Struct, frozen=True, kw_only=True):
    """What a verb prints."""

    schema: int = SCHEMA


class GatedObject(Printed, frozen=True, kw_only=True):
    """What a verb prints whose figures `--fail-on` is held against: `gates`, one by one."""

    gates: tuple[Verdict, ...] = ()


class ErrorObject(Printed, frozen=True):
    """A failure of any verb: the error's name, what failed, where, why, and what to do next."""

    error: str
    what: str
    at: str
    why: str
    hint: str
    exit_code: int

    @staticmethod
    def of(error: SplitcError) -> ErrorObject:
        """An error that splitc raises on purpose."""
        return ErrorObject(
            error=error.kind, what=error.what, at=error.at, why=error.why, hint=error.hint,
            exit_code=error.exit_code,
        )  # fmt: skip


class TensorObject(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor; an extent, or its bytes, that depends on data is null."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    bytes: int | None

    @staticmethod
    def of(tensor: Tensor) -> TensorObject:
        """A tensor of a graph."""
        return TensorObject(
            name=tensor.name, shape=tensor.shape, dtype=tensor.dtype, bytes=tensor.nbytes
        )


class MadeTensorObject(TensorObject, frozen=True, kw_only=True):
    """A tensor, and the layer that makes it, or "the codec"."""

    made_by: str


class MissingObject(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that cannot be compiled."""

    layer: str
    op: str
    why: str

    @staticmethod
    def of(one: Unsupported) -> MissingObject:
        """What a backend said."""
        return MissingObject(layer=one.layer, op=one.op, why=one.why)


class SentObject(msgspec.Struct, frozen=True, kw_only=True):
    """How inputs would be sent to a server that runs all of the network: `how` is `tensor`,
    `uint8` or `jpeg`; `source` says where the bytes come from, and starts with `exact`,
    `measured` or `assumed`."""

    how: str
    bytes: int
    source: str


class RowObject(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the cut table; `objective` is what it is ordered by, in seconds or joules.

    `depth` is how many layers the device runs; `result_bytes` are those of results that are
    made on one side and wanted on the other; `sent` is null but for baselines
    that nothing is built of."""

    cut: str
    layers: tuple[str, ...]
    kind: str
    boundary: tuple[TensorObject, ...]
    depth: int
    boundary_bytes: int
    result_bytes: int
    head_ms: float
    link_ms: float
    tail_ms: float
    latency_ms: float
    period_ms: float
    energy_mj: float
    head_param_bytes: int
    head_peak_bytes: int
    objective: float
    rejected: str | None
    sent: SentObject | None

    @staticmethod
    def of(row: CutRow, objective: float) -> RowObject:
        """A row of a table."""
        cost, sent = row.cost, row.sent
        return RowObject(
            cut=row.title if row.kind in WHOLES else row.cut.name,
            layers=row.cut.layers if row.kind not in WHOLES else (),
            kind=row.kind,
            boundary=tuple(TensorObject.of(tensor) for tensor in row.boundary),
            depth=row.cut.depth,
            boundary_bytes=cost.boundary_bytes,
            result_bytes=cost.result_bytes,
            head_ms=cost.head_s * 1e3,
            link_ms=cost.link_s * 1e3,
            tail_ms=cost.tail_s * 1e3,
            latency_ms=cost.latency_s * 1e3,
            period_ms=cost.period_s * 1e3,
            energy_mj=cost.energy_j * 1e3,
            head_param_bytes=cost.head_param_bytes,
            head_peak_bytes=cost.head_peak_bytes,
            objective=objective,
            rejected=row.rejected,
            sent=None
            if sent is None
            else SentObject(how=sent.how, bytes=cost.boundary_bytes, source=sent.source),
        )


class LinkObject(msgspec.Struct, frozen=True, kw_only=True):
    """The link."""

    bandwidth_bps: float
    rtt_s: float
    loss_rate: float
    mtu_bytes: int

    @staticmethod
    def of(link: Link) -> LinkObject:
        """A link."""
        return LinkObject(
            bandwidth_bps=link.bandwidth_bps, rtt_s=link.rtt_s, loss_rate=link.loss_rate,
            mtu_bytes=link.mtu_bytes,
        )  # fmt: skip


class TableObject(msgspec.Struct, frozen=True, kw_only=True):
    """The cut table. `auto` is the cut that `--cut auto` means, `best` the first that is usable;
    `proof` says why a cut is the best, and is null where there is none.

    `results` is where they are wanted. `baselines` are `device`, `server`, and where they fit
    `server_uint8` and `server_jpeg`; `baseline` names the one that a split has to beat.
    `untrained` is what codecs that need no training would bring, null where a codec is there;
    `choice` is what `--codec auto` tried, null where that was not asked."""

    figures: str
    objective: str
    results: str
    link: LinkObject
    baselines: dict[str, RowObject]
    baseline: str
    codec: str | None
    own: str | None
    best: str | None
    auto: str | None
    split_pays: bool
    proof: Proof | None
    untrained: BroughtObject | None
    choice: ChoiceObject | None
    cuts: tuple[RowObject, ...]

    @staticmethod
    def of(table: CutTable) -> TableObject:
        """A whole table."""
        return TableObject(**_table(table))


def _table(table: CutTable) -> dict[str, Any]:
    link, codec, usable = table.costs.link, table.problem.codec, table.usable
    return {
        "figures": table.costs.label,
        "objective": table.objective,
        "results": table.problem.results,
        "link": LinkObject.of(link),
        "baselines": {_key(row): RowObject.of(row, table.value(row)) for row in table.wholes},
        "baseline": _key(table.baseline),
        "codec": None if codec is None else str(codec),
        "own": None if table.own is None else table.own.name,
        "best": usable[0].cut.name if usable else None,
        "auto": None if table.wanted is None else table.wanted.name,
        "split_pays": table.split_pays if usable else False,
        "proof": None if table.solution is None else table.solution.proof,
        "untrained": BroughtObject.of(table),
        "choice": None if table.choice is None else ChoiceObject.of(table, table.choice),
        "cuts": tuple(RowObject.of(row, table.value(row)) for row in table.rows),
    }  # fmt: skip


def _key(whole: CutRow) -> str:
    return whole.kind if whole.sent is None else f"{whole.kind}_{whole.sent.how}"


class CutsObject(TableObject, frozen=True, kw_only=True):
    """`splitc cuts`: the table, and the layers that could not be compiled whatever the cut.

    `front` names the cuts that no other is better than in all of the figures `by`, null and ()
    where that was not asked."""

    schema: int = SCHEMA
    unsupported: tuple[MissingObject, ...]
    by: tuple[str, ...] = ()
    front: tuple[str, ...] | None = None

    @staticmethod
    def of(
        table: CutTable, missing: tuple[MissingObject, ...] = (), weighed: Sequence[Figure] = ()
    ) -> CutsObject:
        """What the verb prints."""
        named = tuple(row.cut.name for row in front(table.usable, weighed)) if weighed else None
        by = tuple(figure.name for figure in weighed)
        return CutsObject(**_table(table), unsupported=missing, by=by, front=named)


class DifferenceObject(msgspec.Struct, frozen=True, kw_only=True):
    """How far a tensor is from the golden one; `wrong` says in words what else is, `rounding`
    what rounding alone may make of the error."""

    name: str
    relative_error: float
    same_argmax: bool
    wrong: str
    rounding: float

    @staticmethod
    def of(one: Difference) -> DifferenceObject:
        """A comparison."""
        return DifferenceObject(
            name=one.name, relative_error=one.relative, same_argmax=one.same_argmax,
            wrong=one.wrong, rounding=one.rounding,
        )  # fmt: skip


class RanObject(msgspec.Struct, frozen=True, kw_only=True):
    """What ran of a part, in words, and how long its first call took."""

    ran: str
    ms: float


class RouteCheckObject(msgspec.Struct, frozen=True, kw_only=True):
    """What running the parts of one route on its golden vectors found."""

    passed: bool
    boundary: tuple[DifferenceObject, ...]
    outputs: tuple[DifferenceObject, ...]
    received: tuple[DifferenceObject, ...]

    @staticmethod
    def of(one: RouteCheck, tolerance: float) -> RouteCheckObject:
        """What was found of a route."""
        return RouteCheckObject(
            passed=one.passed(tolerance),
            boundary=tuple(map(DifferenceObject.of, one.boundary)),
            outputs=tuple(map(DifferenceObject.of, one.outputs)),
            received=tuple(map(DifferenceObject.of, one.received)),
        )


class CheckObject(msgspec.Struct, frozen=True, kw_only=True):
    """What running a bundle's parts on its golden vectors found; `boundary`, `outputs` and
    `received` are those of the default route."""

    passed: bool
    tolerance: float
    samples: int
    parts: dict[str, RanObject]
    boundary: tuple[DifferenceObject, ...]
    outputs: tuple[DifferenceObject, ...]
    received: tuple[DifferenceObject, ...]
    routes: dict[str, RouteCheckObject]
    others: dict[str, tuple[DifferenceObject, ...]]

    @staticmethod
    def of(found: Verification) -> CheckObject:
        """A verification."""
        return CheckObject(**_check(found))


def _check(found: Verification) -> dict[str, Any]:
    return {
        "passed": found.passed,
        "tolerance": found.tolerance,
        "samples": found.samples,
        "parts": {
            name: RanObject(ran=one.how, ms=one.timing.first_ms) for name, one in found.ran.items()
        },
        "boundary": tuple(map(DifferenceObject.of, found.boundary)),
        "outputs": tuple(map(DifferenceObject.of, found.outputs)),
        "received": tuple(map(DifferenceObject.of, found.received)),
        "routes": {
            name: RouteCheckObject.of(one, found.tolerance) for name, one in found.routes.items()
        },
        "others": {
            name: tuple(map(DifferenceObject.of, each)) for name, each in found.others.items()
        },
    }


class ProofObject(msgspec.Struct, frozen=True, kw_only=True):
    """What `splitc verify` found of the proof of a route's cut; `again` is whether what it claims
    was shown anew, at the prices that were recorded, and `words` what was shown, or why not."""

    route: str
    again: bool
    words: str

    @staticmethod
    def of(found: Iterable[ProofCheck]) -> tuple[ProofObject, ...]:
        """What was found of each."""
        return tuple(ProofObject(**asdict(one)) for one in found)


class VerifyObject(CheckObject, frozen=True, kw_only=True):
    """`splitc verify`: what was found, and what a codec costs; `gates` as of `--fail-on`;
    `signer` is sha256 of the public key that signed the files, null where that was not asked."""

    schema: int = SCHEMA
    codec_cost: CodecCost | None
    gates: tuple[Verdict, ...] = ()
    signer: str | None = None
    proofs: tuple[ProofObject, ...] = ()

    @staticmethod
    def of(
        found: Verification, cost: CodecCost | None = None, signer: str | None = None
    ) -> VerifyObject:
        """What the verb prints."""
        proofs = ProofObject.of(found.proofs)
        return VerifyObject(**_check(found), codec_cost=cost, signer=signer, proofs=proofs)


class TimesObject(msgspec.Struct, frozen=True, kw_only=True):
    """Times of calls in milliseconds; how many there were, the first one left out."""

    calls: int
    median_ms: float
    p95_ms: float
    p99_ms: float

    @staticmethod
    def of(times: Times) -> TimesObject:
        """Times that were measured."""
        return TimesObject(**asdict(times))


class ResultObject(msgspec.Struct, frozen=True, kw_only=True):
    """A result as it was written; `file` is null where it was not."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str | None


class RunObject(Printed, frozen=True):
    """`splitc run`: what ran of each part, in words, how long frames took, and the results;
    the accuracy where the frames had labels."""

    bundle: str
    parts: dict[str, str]
    frames: int
    first_ms: float
    times: TimesObject | None
    outputs: tuple[ResultObject, ...]
    accuracy: float | None


class PartTimesObject(msgspec.Struct, frozen=True, kw_only=True):
    """A part measured: what ran, in words, and how many frames a call takes."""

    ran: str
    frames: int
    load_ms: float
    first_ms: float
    resident_bytes: int
    times: TimesObject


class BenchObject(GatedObject, frozen=True):
    """`splitc bench`: each part, and those of each route one after the other; `route` is that of
    the route that was asked for, or the bundle's own."""

    bundle: str
    parts: dict[str, PartTimesObject]
    route: TimesObject
    routes: dict[str, TimesObject]
    threads: int | None
    resident_bytes: int

    @staticmethod
    def of(bundle: str, found: Measured) -> BenchObject:
        """What was measured."""
        parts = {
            name: PartTimesObject(
                ran=one.ran, frames=one.frames, load_ms=one.load_ms, first_ms=one.first_ms,
                resident_bytes=one.resident_bytes, times=TimesObject.of(one.times),
            )
            for name, one in found.parts.items()
        }  # fmt: skip
        return BenchObject(
            bundle=bundle, parts=parts, route=TimesObject.of(found.routes[found.default]),
            routes={name: TimesObject.of(times) for name, times in found.routes.items()},
            threads=found.threads, resident_bytes=found.resident_bytes,
        )  # fmt: skip


class ReportObject(Printed, frozen=True):
    """`splitc report`: the file that was written, or the report itself where none was."""

    bundle: str
    format: str
    file: str | None
    bytes: int
    sha256: str
    text: str | None
    gates: tuple[Verdict, ...]
