# SPDX-License-Identifier: Apache-2.0
"""`--codec auto`: the best codec that needs no training and that samples show to cost little."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from splitc.errors import SplitcError, UsageError
from splitc.ir.chain import FLOATS, channel_layers
from splitc.ir.cut import Cut
from splitc.ir.model import Model
from splitc.ir.placement import Placement
from splitc.ir.proof import Heuristic
from splitc.passes.at_cut import encode, recut, why_refused
from splitc.search.cutter import Solution
from splitc.search.enumerate import single_cuts
from splitc.search.problem import CutRow
from splitc.search.scenario import AutoCodec
from splitc.search.table import CutTable
from splitc.search.untrained import Coded, cheapest_first

if TYPE_CHECKING:
    from splitc.arrays import Array, Arrays
    from splitc.passes.agreement import Agreement

REWRITTEN = 250_000
"""Layers of the graphs that a codec is tried in at most, all cuts together: seconds of work."""

Measure = Literal["arg-max", "relative error"]


@dataclass(frozen=True)
class Tried:
    """A codec at a cut, run on samples beside the network without it.

    Args:
        coded: The cut and the codec.
        drop: What it costs: the share of the samples' arg-max that are other ones, or the
            relative error. Of one that was given up, of the samples up to there.
        samples: How many it was run on: one that costs too much whatever follows is given up.
        refused: Why it cannot stand there; "" where it can.
        kept: Whether it costs no more than was allowed.
    """

    coded: Coded
    drop: float
    samples: int
    refused: str
    kept: bool


@dataclass(frozen=True)
class CodecChoice:
    """Which codec was taken, and what was tried for it.

    Args:
        measure: What agreement is: the arg-max of the first result where that is a table of
            classes; else the largest relative error of a result.
        max_drop: How much a codec may cost of it.
        samples: How many samples there are.
        tried: In order of price; the last is the one that was taken, where one was.
    """

    measure: Measure
    max_drop: float
    samples: int
    tried: tuple[Tried, ...]

    @property
    def taken(self) -> Coded | None:
        """The cut and the codec; None where none keeps the limit, or none is worth it."""
        return self.tried[-1].coded if self.tried and self.tried[-1].kept else None


def choose_codec(
    model: Model, plain: CutTable, auto: AutoCodec, samples: Sequence[Arrays]
) -> CodecChoice:
    """The cheapest codec and cut that cost no more than is allowed on samples.

    Codecs at cuts are tried in order of the objective, so the first that keeps the limit is the
    best that does. It ends where the best cut without a codec is as cheap: that costs nothing.

    Args:
        model: With weights.
        plain: Its cuts without a codec.
        auto: What is allowed, and where to look.
        samples: Arrays by input name, each of the model's input shapes.

    Raises:
        UsageError: There are no samples.
        SplitcError: The network does not run on them.
    """
    if not samples:
        why = "what a codec costs is measured on samples, random ones tell nothing"
        raise UsageError("--codec auto without samples", why=why, hint="add --calibrate FILE.npz")
    judge = _Judge.of(model, samples, auto.max_drop)
    cuts, rows = _where(plain, auto)
    enough = min((plain.value(row) for row in rows if row.rejected is None), default=math.inf)
    tried: list[Tried] = []
    for coded in cheapest_first(plain.problem, cuts, most=REWRITTEN):
        if plain.value(coded.row) >= enough:
            break
        tried.append(judge.tried(coded))
        if tried[-1].kept:
            break
    return CodecChoice(judge.measure, auto.max_drop, len(samples), tuple(tried))


def _where(plain: CutTable, auto: AutoCodec) -> tuple[Sequence[Cut], Sequence[CutRow]]:
    """The cuts to look at, and those rows without a codec that are held against them."""
    if auto.cut:
        row = plain.row_called(auto.cut)
        return [row.cut], [row]
    if plain.own is not None:
        return [plain.own], [plain.row(plain.own)]
    return [*single_cuts(plain.problem.graph)], plain.usable[:1]


def with_choice(table: CutTable, choice: CodecChoice) -> CutTable:
    """The table of the codec that was taken: what was tried and costs too much is not usable.

    Args:
        table: The cuts with the codec.
        choice: Which cut was taken.
    """
    taken = choice.taken
    assert taken is not None
    failed = {
        (one.coded.row.cut.prefix, one.coded.row.cut.extra): in_words(choice, one)
        for one in choice.tried
        if one.coded.bits == taken.bits and not one.kept
    }

    least = table.value(taken.row)

    def marked(row: CutRow) -> CutRow:
        why = failed.get((row.cut.prefix, row.cut.extra))
        if why is None and table.value(row) < least and row.cut != taken.row.cut:
            why = "not tried on the samples"
        return row if why is None else replace(row, rejected=row.rejected or why)

    rows = sorted(map(marked, table.rows), key=lambda row: row.rejected is not None)
    before = len(choice.tried) - 1
    most = f"{choice.max_drop:.3g} of {choice.measure}"
    proof = Heuristic(
        cutter="", value=least,
        why=f"codecs in order of price, the first that costs at most {most} on "
        f"{choice.samples} samples; {before} cheaper ones cost more",
    )  # fmt: skip
    solution = Solution(Placement.of_cuts([taken.row.cut]), taken.row.cost, proof)
    return replace(table, rows=tuple(rows), solution=solution, named=True, choice=choice)


def in_words(choice: CodecChoice, one: Tried) -> str:
    """What a codec costs on the samples, as a clause."""
    if one.refused:
        return one.refused
    if choice.measure == "relative error":
        return f"relative error {one.drop:.2g}"
    count = f"{one.samples}" if one.samples == choice.samples else f"the first {one.samples}"
    return f"another arg-max in {one.drop:.1%} of {count} samples"


@dataclass(frozen=True)
class _Judge:
    """Runs codecs on samples beside what the network makes of these.

    Args:
        model: The network.
        samples: Arrays by input name.
        given: What it makes of each, without a codec.
        names: Results that are compared.
        measure: How.
        max_drop: What is allowed.
    """

    model: Model
    samples: Sequence[Arrays]
    given: Sequence[Arrays]
    names: tuple[str, ...]
    measure: Measure
    max_drop: float

    @staticmethod
    def of(model: Model, samples: Sequence[Arrays], max_drop: float) -> _Judge:
        """Run the network."""
        results = [t for t in model.graph.output_tensors if t.dtype in FLOATS]
        first = model.graph.output_tensors[0]
        shape = list(first.shape or (1,))
        classes = first in results and len(shape) <= 2 and (shape[-1] or 0) > 1
        names = (first.name,) if classes else tuple(t.name for t in results)
        if not names:
            why = "no result is of floating-point numbers"
            raise UsageError("--codec auto has nothing to compare", why=why)
        given: list[dict[str, Array]] = []
        for sample in samples:
            made = model.run(sample)
            given.append({name: made[name] for name in names})
        measure: Measure = "arg-max" if classes else "relative error"
        return _Judge(model, samples, given, names, measure, max_drop)

    def tried(self, coded: Coded) -> Tried:
        """What a codec costs; one that cannot be calibrated there is refused."""
        cut = recut(coded.row.cut, self.model.graph)
        try:
            made, _ = encode(self.model, cut, coded.codec, self.samples)
        except SplitcError as error:
            return Tried(coded, 1.0, 0, why_refused(error), kept=False)
        channels = channel_layers(made.graph)
        return self._run(coded, made.bypass(channels) if channels else made)

    def _run(self, coded: Coded, made: Model) -> Tried:
        from splitc.passes.agreement import Agreement

        found = {name: Agreement() for name in self.names}
        places, number = 0, 0
        for number, (sample, given) in enumerate(zip(self.samples, self.given, strict=True), 1):
            results = made.run(sample)
            for name, agreement in found.items():
                agreement.add(results[name], given[name])
            places = max(one.places for one in found.values()) // number * len(self.samples)
            if self.measure == "arg-max" and self._missed(found) > self.max_drop * places:
                break
        drop = self._drop(found)
        kept = number == len(self.samples) and drop <= self.max_drop
        return Tried(coded, drop, number, "", kept)

    def _missed(self, found: dict[str, Agreement]) -> int:
        return sum(one.places - one.same for one in found.values())

    def _drop(self, found: dict[str, Agreement]) -> float:
        if self.measure == "relative error":
            return max(one.relative_error for one in found.values())
        return self._missed(found) / max(1, sum(one.places for one in found.values()))
