# SPDX-License-Identifier: Apache-2.0
"""A compilation, decided but not begun: which network, cut, boards, and what writes each part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from splitc.arrays import Array
from splitc.build.backend import EMIT, Preparing, backend_for, warm_up
from splitc.build.part_job import PartJob, Site
from splitc.build.refusals import refuse_unsupported
from splitc.build.route_spec import RouteSpec, asked_routes, check_widths, planned_routes
from splitc.build.routes import (
    RouteJob,
    Sites,
    one_route,
    refuse_unusable,
    routes_of,
)
from splitc.bundle.contents import plain_name
from splitc.bundle.record import DataFile
from splitc.cost.jpeg_sizes import jpeg_sizes
from splitc.cost.topology import DEVICE, SERVER
from splitc.epoch import source_date_epoch
from splitc.errors import NoGainError, UsageError
from splitc.frontend import load
from splitc.frontend.onnx.bounded import bounded
from splitc.ir.model import Network
from splitc.ir.segment import segments
from splitc.passes.at_cut import Ready
from splitc.search.find import find_cuts
from splitc.search.plan_file import PlanFile
from splitc.search.problem import WHOLES, CutRow
from splitc.search.scenario import Conditions, Scenario, scenario_of
from splitc.search.table import BEST, CutTable

if TYPE_CHECKING:
    from splitc.quantization import Quantized

_LARGEST_BATCH = 256


@dataclass(frozen=True)
class Job:
    """A compilation, decided but not begun: which model, routes and boards.

    Args:
        source: The network as it was read.
        name: The bundle's name.
        table: The cut table.
        routes: The ways through the bundle; one, or several with nested cuts.
        scenario: Where it is to run.
        sites: What is compiled for, and what writes the parts.
        batches: Values that codecs were calibrated with, to say what they cost.
        labels: Their right classes, where they are known.
        batch_sizes: How many frames a call the tail is compiled for, besides one.
        with_whole: Whether the device gets the whole network too.
        asked: The options of `splitc compile` that asked for it, where there were any.
        data: Files that were read for it beside the model.
        epoch: The time that is written into the bundle; None for none.
        quantized: What `source` was made of, where it was quantised to be compiled.
    """

    source: Network
    name: str
    table: CutTable
    routes: tuple[RouteJob, ...]
    scenario: Scenario
    sites: Sites
    batches: Sequence[Mapping[str, Array]] = ()
    labels: Array | None = None
    batch_sizes: tuple[int, ...] = ()
    with_whole: bool = False
    asked: Mapping[str, Any] = field(default_factory=dict[str, Any])
    data: tuple[DataFile, ...] = ()
    epoch: int | None = None
    quantized: Quantized | None = None

    @cached_property
    def default(self) -> RouteJob:
        """The route that is best for the link, of equals the one with the smaller head.

        Where there are routes without a codec it is one of them: what a codec costs is to be
        asked for.
        """
        plain = [route for route in self.routes if route.codec is None] or self.routes
        return min(plain, key=lambda route: self.table.value(route.row))

    @property
    def ready(self) -> Ready:
        """What is split on the default route."""
        return self.default.ready

    @property
    def row(self) -> CutRow:
        """What the default route costs."""
        return self.default.row

    @cached_property
    def parts(self) -> tuple[PartJob, ...]:
        """What is compiled, device before server, what all routes share first."""
        found: dict[str, PartJob] = {}
        for site in self.sites:
            runs = [part for route in self.routes for part in route.runs.get(site, ())]
            runs.sort(key=lambda part: part.network is not self.trunk)
            found |= {part.name: part for part in runs}
        return tuple(found.values())

    @property
    def trunk(self) -> Network:
        """The network that the routes share; of one route the one with its codec."""
        return self.routes[0].parts[0].network

    @property
    def tails(self) -> tuple[PartJob, ...]:
        """The server's parts for several frames a call."""
        alone = (part for part in self.parts if part.site == SERVER)
        return tuple(replace(part, batch=size) for part in alone for size in self.batch_sizes)

    @cached_property
    def others(self) -> tuple[PartJob, ...]:
        """What is compiled besides: tails for several frames, the whole network on the device."""
        if not self.with_whole or self.row.kind == DEVICE:
            return self.tails
        (whole,) = segments(self.trunk.graph, [])
        return (*self.tails, PartJob(whole, self.sites[DEVICE], self.trunk, whole.name))

    def refuse_no_gain(self) -> None:
        """Raise where the default route takes as much as the whole network on one side.

        Where it is the whole network on one side itself: where something else takes less.

        Raises:
            NoGainError: It does.
        """
        table, own = self.table, self.row
        if own.kind in (DEVICE, SERVER):
            others = [row for row in table.baselines if row.kind != own.kind]
            other = min((*others, *table.usable[:1]), key=table.value)
            pays = table.value(own) <= table.value(other)
        else:
            other = table.baseline
            pays = table.value(own) < table.value(other)
        if pays:
            return
        unit = "mJ" if table.objective == "energy" else "ms"
        took, less = (table.value(row) * 1e3 for row in (own, other))
        whole = own.kind in WHOLES
        better = "better" if whole else "as good or better"
        raise NoGainError(
            f"{own.title if whole else 'the split'} does not pay: {other.title} is {better}",
            at="" if whole else f"after {own.cut.name}",
            why=f"{took:,.1f} {unit}, and {less:,.1f} {unit} with the other, as predicted",
            hint="leave out --only-if-it-pays to compile it all the same"
            + ("" if other.sent else ", or --cut best takes the better one"),
        )

    @property
    def emit(self) -> str:
        """Names of what writes the parts, as `--emit` has them."""
        names = [site.backend.name for site in self.sites.values()]
        return names[0] if len(set(names)) == 1 else ",".join(names)


def choose(table: CutTable, cut: str) -> CutRow:
    """The row of a cut: `auto`, layer names with commas between, the row's number, or no cut.

    `auto` is the cut that the model has already, or else the best in the table; `device` and
    `server` are the whole network there, `best` is the cheapest of the three.

    Raises:
        UsageError: An unknown layer or number; the hint lists the nearest.
        IllegalCutError: Nothing would be left for the tail, a tensor that crosses has no fixed
            size, or a limit is not kept.
        NoLegalCutError: `auto`, and no cut keeps the constraints.
    """
    if cut == "auto":
        return table.auto
    row = table.row_called(cut)
    refuse_unusable(table.problem, row)
    return row


def _named(table: CutTable, one: str | RouteSpec) -> str | RouteSpec:
    """A route with layers' names in the place of a row's number, or of `server`.

    Raises:
        UsageError: It is no cut but the whole network on the device.
    """
    if not isinstance(one, str) or one in table.problem.graph.index:
        return one
    if one in (DEVICE, "none", BEST):
        hint = "--with-whole compiles it beside the cuts, for when the server is silent"
        raise UsageError(f"'{one}' is no route beside others", hint=hint)
    if one.isdecimal() or one == SERVER:
        return RouteSpec(table.row_called(one).cut.layers)
    return one


def sites_of(emit: str, scenario: Scenario) -> dict[str, Site]:
    """What is compiled for, and what writes the parts, by the sites' names.

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
        site: Site(site, board, backend_for(board, name))
        for (site, board), name in zip(boards.items(), [names[0], names[-1]], strict=True)
    }


def _require_compilers(sites: Mapping[str, Site]) -> None:
    """Raise where what a site's code is compiled with is missing.

    Raises:
        ToolchainError: It is.
    """
    for site in sites.values():
        if isinstance(site.backend, Preparing):
            site.backend.require(site.board)


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


def _cut(
    loaded: Network, given: Scenario, cut: str, batches: Sequence[Mapping[str, Array]]
) -> tuple[CutTable, CutRow]:
    """The table and the row that is compiled, the codec chosen where that was asked for."""
    if given.auto is None:
        table = find_cuts(loaded, scenario=given)
        return table, choose(table, cut)
    auto = replace(given.auto, cut="" if cut in ("auto", BEST) else cut)
    table = find_cuts(loaded, scenario=replace(given, auto=auto, samples=batches))
    taken = None if table.choice is None else table.choice.taken
    # A row's number is one of the table without the codec.
    named = auto.cut and taken is not None
    return table, table.row(taken.row.cut) if named and taken else choose(table, cut)


def _read(model: Network | str | Path, emit: str, given: Scenario) -> Network:
    """The network, its results of fixed shapes where code is made for them."""
    loaded: Network = (
        load(model, meanwhile=partial(warm_up, emit)) if isinstance(model, str | Path) else model
    )
    compiles = any(site.backend.compiles for site in sites_of(emit, given).values())
    return bounded(loaded) if compiles else loaded


def plan(
    model: Network | str | Path,
    *,
    cut: str = "auto",
    cuts: Sequence[str | RouteSpec] = (),
    bits: Sequence[int] = (),
    by_plan: PlanFile | str | Path | None = None,
    name: str | None = None,
    emit: str = EMIT,
    batches: Sequence[Mapping[str, Array]] = (),
    labels: Array | None = None,
    batch_sizes: Sequence[int] = (),
    with_whole: bool = False,
    scenario: Scenario | None = None,
    **conditions: Unpack[Conditions],
) -> Job:
    """Load the model if need be, search the cuts, choose some and put the codecs there.

    Where one backend writes both parts, a layer that it cannot compile is refused before any
    cut is priced.

    Raises:
        UsageError: There is no such backend, or it writes nothing for a board.
        ToolchainError: A compiler that it needs for a board is missing.
        UnsupportedOpError: A layer cannot be compiled, whatever the cut.
        SplitcError: See `splitc.load`, `splitc.find_cuts`, `choose` and `routes_of`.
    """
    if cuts and cut != "auto":
        raise UsageError("one cut and several", hint="name all of them in cuts, --cuts A,B")
    if by_plan is not None and (cuts or bits or cut != "auto"):
        raise UsageError("a plan, and cuts beside it", hint="the plan says where to cut")
    check_widths(bits)
    given = scenario_of(scenario, conditions)
    if given.auto is not None and (cuts or bits or by_plan is not None):
        raise UsageError("codec auto, and several routes", why="it is chosen for one cut")
    epoch = source_date_epoch()
    if bits and not batches:
        hint = "give sample inputs: --calibrate FILE.npz"
        raise UsageError("fewer bits have to know which values cross", hint=hint)
    _require_compilers(sites_of(emit, given))
    loaded = _read(model, emit, given)
    if name is None:
        name = Path(model).stem if isinstance(model, str | Path) else loaded.name
    name = plain_name(name)
    batches = batches or given.batches(loaded.graph)
    given = replace(given, samples=(), jpeg=given.jpeg or jpeg_sizes(loaded.graph, batches))
    sizes = checked_sizes(batch_sizes)
    sites = sites_of(emit, given)
    if len({site.backend.name for site in sites.values()}) == 1:
        refuse_unsupported(sites[DEVICE].backend, loaded, "network")
    if by_plan is not None or cuts or bits:
        table = find_cuts(loaded, scenario=replace(given, codec=None))
        if by_plan is None:
            asked = [_named(table, one) for one in cuts]
            asked = asked or [RouteSpec(choose(table, cut).cut.layers)]
            specs = asked_routes(asked, bits, given.codec)
        else:
            specs = planned_routes(by_plan, loaded.digest, given.codec)
        routes = routes_of(loaded, table, specs, sites, batches)
    else:
        table, row = _cut(loaded, given, cut, batches)
        given = replace(given, auto=None, codec=table.problem.codec)
        if row.kind == DEVICE and sizes:
            why = "nothing is left for a server that would run frames together"
            raise UsageError("batch sizes, and all is on the device", why=why)
        routes = (one_route(loaded, row, given.codec, sites, batches),)
    return Job(
        loaded, name, table, routes, given, sites, batches, labels, sizes, with_whole,
        epoch=epoch,
    )  # fmt: skip
