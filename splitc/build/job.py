# SPDX-License-Identifier: Apache-2.0
"""A compilation, decided but not begun: which network, cut, boards, and what writes each part."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Unpack

from splitc.arrays import Array
from splitc.build.backend import Backend, backend_for, warm_up
from splitc.build.refusals import refuse_unsupported
from splitc.cost.board import Board
from splitc.cost.topology import DEVICE, SERVER
from splitc.errors import IllegalCutError, UsageError
from splitc.frontend import load
from splitc.ir.cut import Cut
from splitc.ir.layout import Layout, Layouts
from splitc.ir.model import Network
from splitc.ir.segment import Segment, segments
from splitc.passes.at_cut import Ready, prepare
from splitc.search.find import find_cuts
from splitc.search.problem import CutRow
from splitc.search.scenario import Conditions, Scenario, scenario_of
from splitc.search.table import CutTable

EMIT = "tvm"
"""The backend that writes parts where none is named."""

_LARGEST_BATCH = 256


@dataclass(frozen=True)
class PartJob:
    """A part to compile: a segment for a site.

    Args:
        segment: Its layers; the part is called like it.
        site: Name of the site.
        board: What is compiled for.
        backend: What compiles and writes it.
        batch: How many frames one call takes.
    """

    segment: Segment
    site: str
    board: Board
    backend: Backend
    batch: int = 1

    @property
    def name(self) -> str:
        """The part's name, which is its folder's too."""
        return self.segment.name if self.batch == 1 else f"{self.segment.name}-x{self.batch}"


@dataclass(frozen=True)
class Job:
    """A compilation, decided but not begun: which model, cut and boards.

    Args:
        source: The network as it was read.
        ready: What is split: the network with the codec inside, without channels.
        name: The bundle's name.
        table: The cut table.
        row: The chosen row.
        scenario: Where it is to run.
        backends: What writes the parts, by their sites.
        batches: Values that the codec was calibrated with, to say what it costs.
        labels: Their right classes, where they are known.
        batch_sizes: How many frames a call the tail is compiled for, besides one.
        with_whole: Whether the device gets the whole network too.
    """

    source: Network
    ready: Ready
    name: str
    table: CutTable
    row: CutRow
    scenario: Scenario
    backends: Mapping[str, Backend]
    batches: Sequence[Mapping[str, Array]] = ()
    labels: Array | None = None
    batch_sizes: tuple[int, ...] = ()
    with_whole: bool = False

    @property
    def head(self) -> Board:
        """Board of the device."""
        return self.scenario.head.board

    @property
    def tail(self) -> Board:
        """Board of the server."""
        return self.scenario.tail.board

    @property
    def model(self) -> Network:
        """The network that is split."""
        return self.ready.model

    @property
    def cut(self) -> Cut:
        """Where it is split: at the codec's boundary, if there is one."""
        return self.ready.cut

    @cached_property
    def parts(self) -> tuple[PartJob, ...]:
        """What is compiled, in the order in which it runs."""
        boards = {DEVICE: self.head, SERVER: self.tail}
        return tuple(
            PartJob(segment, site, board, self.backends[site])
            for segment, (site, board) in zip(
                segments(self.cut.graph, [self.cut]), boards.items(), strict=True
            )
        )

    @cached_property
    def others(self) -> tuple[PartJob, ...]:
        """What is compiled besides: tails for several frames, the whole network on the device."""
        tails = (
            replace(part, batch=size)
            for size in self.batch_sizes
            for part in self.parts
            if part.site == SERVER
        )
        (whole,) = segments(self.cut.graph, [])
        more = [PartJob(whole, DEVICE, self.head, self.backends[DEVICE])] if self.with_whole else []
        return (*tails, *more)

    @cached_property
    def layouts(self) -> Layouts:
        """How what crosses lies: as the code at both its ends has it, or in the model's order.

        Network inputs and results keep the order that the model's user knows.
        """
        graph, found = self.cut.graph, dict[str, Layout]()
        for maker in self.parts:
            for tensor in maker.segment.sends:
                layout = maker.backend.layout(tensor, graph)
                readers = (part for part in self.parts if tensor in part.segment.reads)
                agreed = all(part.backend.layout(tensor, graph) == layout for part in readers)
                if agreed and tensor.name not in graph.outputs:
                    found[tensor.name] = layout
        return found

    @property
    def emit(self) -> str:
        """Names of what writes the parts, as `--emit` has them."""
        names = [backend.name for backend in self.backends.values()]
        return names[0] if len(set(names)) == 1 else ",".join(names)


def choose(table: CutTable, cut: str) -> CutRow:
    """The row of a cut: `auto`, or layer names with commas between.

    `auto` is the cut that the model has already, or else the best in the table.

    Raises:
        UsageError: An unknown layer; the hint lists the nearest.
        IllegalCutError: Nothing would be left for one side, or a tensor that
            crosses has no fixed size.
        NoLegalCutError: `auto`, and no cut keeps the constraints.
    """
    if cut == "auto":
        return table.auto
    row = table.row(Cut.named(table.costs.graph, cut))
    if row.rejected is not None:
        raise IllegalCutError(
            f"cannot cut after '{cut}'",
            why=row.rejected,
            hint="`splitc cuts MODEL` lists the cuts there are"
            + (" with this codec" if table.problem.codec else ""),
        )
    return row


def backends_of(emit: str, scenario: Scenario) -> dict[str, Backend]:
    """What writes the part of each site.

    Args:
        emit: The name of a backend, or one for the device and one for the server with a
            comma between.
        scenario: Which boards they are for.

    Raises:
        UsageError: There is no such backend, or it writes nothing for the board.
    """
    names = [name.strip() for name in emit.split(",")]
    if len(names) > 2:
        raise UsageError(f"--emit {emit}", hint="one backend, or one for head and one for tail")
    boards = {DEVICE: scenario.head.board, SERVER: scenario.tail.board}
    return {
        site: backend_for(board, name)
        for (site, board), name in zip(boards.items(), [names[0], names[-1]], strict=True)
    }


def checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """The batch sizes besides 1, ascending.

    Raises:
        UsageError: One is not in 1 to 256, or there twice.
    """
    for size in sizes:
        if not 1 <= size <= _LARGEST_BATCH:
            raise UsageError(f"batch size {size} is not in 1 to {_LARGEST_BATCH}")
    if len({*sizes}) < len(sizes):
        raise UsageError("a batch size is there twice", why=",".join(map(str, sizes)))
    return tuple(sorted({*sizes} - {1}))


def plan(
    model: Network | str | Path,
    *,
    cut: str = "auto",
    name: str | None = None,
    emit: str = EMIT,
    batches: Sequence[Mapping[str, Array]] = (),
    labels: Array | None = None,
    batch_sizes: Sequence[int] = (),
    with_whole: bool = False,
    scenario: Scenario | None = None,
    **conditions: Unpack[Conditions],
) -> Job:
    """Load the model if need be, search the cuts, choose one and put the codec there.

    Where one backend writes both parts, a layer that it cannot compile is refused before any
    cut is priced.

    Raises:
        UsageError: There is no such backend, or it writes nothing for a board.
        UnsupportedOpError: A layer cannot be compiled, whatever the cut.
        SplitcError: See `splitc.load`, `splitc.find_cuts`, `choose` and
            `splitc.passes.at_cut.prepare`.
    """
    loaded: Network = (
        load(model, meanwhile=partial(warm_up, emit)) if isinstance(model, str | Path) else model
    )
    if name is None:
        name = Path(model).stem if isinstance(model, str | Path) else loaded.name
    # A graph's name comes out of the file, and becomes a folder's.
    name = re.sub(r"[^\w.+-]+", "_", name).strip("._") or "model"
    given = scenario_of(scenario, conditions)
    sizes = checked_sizes(batch_sizes)
    backends = backends_of(emit, given)
    if len({backend.name for backend in backends.values()}) == 1:
        refuse_unsupported(backends[DEVICE], loaded, "network")
    table = find_cuts(loaded, scenario=given)
    row = choose(table, cut)
    ready = prepare(loaded, row.cut, given.codec, batches)
    return Job(loaded, ready, name, table, row, given, backends, batches, labels, sizes, with_whole)
