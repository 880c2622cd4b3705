# SPDX-License-Identifier: Apache-2.0
"""`splitc cuts --explain`: one cut in words, and why it is not the one that is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitc.cli import show
from splitc.cli.objects import MadeTensorObject, Printed
from splitc.search.problem import WHOLES

if TYPE_CHECKING:
    from splitc.search.explain import Explanation
    from splitc.search.problem import CutRow

_BEHIND = {"latency": "slower", "throughput": "slower a frame", "energy": "more energy"}


class ExplainObject(Printed, frozen=True):
    """`splitc cuts --explain`: what a cut means, or why it is none, or not the one taken.

    `behind` is what it has more than the cut that is taken: milliseconds, millijoules where
    energy is minimised; null for that one, and where there is none. `rank` is null where it may
    not be used.
    """

    cut: str
    usable: bool
    why_not: str | None
    chosen: bool
    rank: int | None
    dominated_by: str | None
    behind: float | None
    boundary: tuple[MadeTensorObject, ...]
    latency_ms: float
    head_memory_bytes: int
    energy_mj: float

    @staticmethod
    def of(one: Explanation) -> ExplainObject:
        """What the verb prints."""
        row, by = one.row, one.dominated_by
        return ExplainObject(
            cut=row.cut.name, usable=row.rejected is None, why_not=row.rejected,
            chosen=one.is_chosen, rank=one.rank, dominated_by=by and by.cut.name,
            behind=None if one.behind is None else one.behind[0] * 1e3,
            boundary=tuple(
                MadeTensorObject(
                    name=t.name, shape=t.shape, dtype=t.dtype, bytes=t.nbytes,
                    made_by=one.made_by(t),
                )
                for t in row.boundary
            ),
            latency_ms=row.cost.latency_s * 1e3, head_memory_bytes=row.cost.head_peak_bytes,
            energy_mj=row.cost.energy_j * 1e3,
        )  # fmt: skip


def print_explanation(one: Explanation) -> None:
    """Print it as people read it."""
    console = show.out()
    row, graph = one.row, one.table.costs.graph
    cut = row.cut
    name = WHOLES.get(row.kind, f"cut after {cut.name}")
    console.print(show.plain(f"{name}: {_verdict(one)}"))
    made = len(cut.head) - graph.input_count
    memory = show.short_bytes(row.cost.head_peak_bytes)
    console.print(f"  head {made} layers, {memory} of memory; tail {len(cut.tail)} layers")
    for tensor in row.boundary:
        readers = (i for i in graph.readers.get(tensor.name, ()) if not cut.holds(i))
        to = "".join(f" to {graph.layers[i].name}" for i in list(readers)[:1])
        size = "size depends on data" if tensor.nbytes is None else show.short_bytes(tensor.nbytes)
        crossing = f"  crosses: {tensor.name}  {size}, from {one.made_by(tensor)}{to}"
        console.print(show.plain(crossing))
    if len(cut.boundary) > 1:
        console.print("  several tensors cross because edges go round the last layer")
    place = f"rank {one.rank} of {len(one.table.usable)}" if one.rank else "not in the ranking"
    console.print(f"  {show.milliseconds(row.cost.latency_s)} ms predicted, {place}")
    if row.rejected is None and one.chosen is not None and not one.is_chosen:
        console.print(show.plain(f"  {_behind(one, one.chosen)}"))
    if row.rejected is None and one.dominated_by is not None:
        console.print(show.plain(f"  {_dominated(row, one.dominated_by)}"))


def _verdict(one: Explanation) -> str:
    if one.row.rejected is not None:
        return f"cannot be used: {one.row.rejected}"
    return "the one that is taken" if one.is_chosen else "can be used"


def _behind(one: Explanation, best: CutRow) -> str:
    """How much worse it is than the cut that is taken, and where that comes from."""
    assert one.behind is not None
    total, *parts = (1e3 * each for each in one.behind)
    unit = "mJ" if one.table.objective == "energy" else "ms"
    share = abs(total) / max(1e3 * one.table.value(best), 1e-12)
    how = _BEHIND[one.table.objective] if total >= 0 else "less"
    unweighed = total < 0 and one.row.kind not in WHOLES
    though = ", which its cutter does not weigh" if unweighed else ""
    where = ", ".join(
        f"{name} {part:+.1f}" for name, part in zip(("head", "link", "tail"), parts, strict=True)
    )
    return f"{abs(total):.1f} {unit} ({share:.0%}) {how} than {best.cut.name}: {where} ms{though}"


def _dominated(row: CutRow, by: CutRow) -> str:
    """Which cut is better in something and worse in nothing, and what it has less."""
    mine, theirs = row.cost, by.cost
    less: list[str] = []
    if theirs.latency_s < mine.latency_s:
        less.append(f"{show.milliseconds(mine.latency_s - theirs.latency_s)} ms")
    memory = mine.head_peak_bytes - theirs.head_peak_bytes
    crossing = mine.boundary_bytes - theirs.boundary_bytes
    less += [f"{show.short_bytes(memory)} of memory"] * (memory > 0)
    less += [f"{show.short_bytes(crossing)} across"] * (crossing > 0)
    if theirs.energy_j < mine.energy_j:
        less.append(f"{1e3 * (mine.energy_j - theirs.energy_j):.1f} mJ")
    return f"dominated by {by.cut.name}: that has {', '.join(less)} less, and nothing more"
