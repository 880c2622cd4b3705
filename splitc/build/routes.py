# SPDX-License-Identifier: Apache-2.0
"""Routes through a bundle, decided but not compiled: which parts run where, what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from splitc.arrays import Arrays
from splitc.build.part_job import PartJob, Site, agreed_layouts
from splitc.build.route_spec import RouteSpec, route_name
from splitc.build.trained_codec import trained_at
from splitc.cost.topology import DEVICE, SERVER
from splitc.errors import IllegalCutError, UsageError
from splitc.ir.cut import NO_TAIL, Cut
from splitc.ir.layout import Layout, Layouts
from splitc.ir.model import Network
from splitc.ir.segment import Segment, codec_segments, segments
from splitc.passes.at_cut import Ready, prepare, recut
from splitc.passes.base import Pipeline
from splitc.search.problem import CutRow, Problem
from splitc.search.table import CutTable

ONE = "cut"
"""Name of the one route of a bundle with one cut."""

Sites = Mapping[str, Site]
"""By their names, in the order in which a frame comes through them."""


@dataclass(frozen=True)
class RouteJob:
    """A route to compile.

    Args:
        name: Unique in its bundle.
        row: What the cut costs, with its codec.
        ready: What is split: the network with the codec inside, without channels.
        codec: What was put at the cut; None for nothing.
        runs: The parts of each site, in order.
        layouts: How what crosses lies.
    """

    name: str
    row: CutRow
    ready: Ready
    codec: Pipeline | None
    runs: Mapping[str, tuple[PartJob, ...]]
    layouts: Layouts

    @cached_property
    def parts(self) -> tuple[PartJob, ...]:
        """Its parts, in the order in which they run."""
        return tuple(part for parts in self.runs.values() for part in parts)


def one_route(
    loaded: Network, row: CutRow, codec: Pipeline | None, sites: Sites,
    batches: Sequence[Arrays], name: str = ONE,
) -> RouteJob:  # fmt: skip
    """The route of a bundle that has one: head and tail, a codec inside them.

    Where all is on the device it is that one part, and nothing crosses.

    Raises:
        SplitcError: See `splitc.passes.at_cut.prepare`.
    """
    if row.kind == "device":
        return _all_on_device(loaded, row, sites[DEVICE], name)
    ready = prepare(loaded, row.cut, codec, batches)
    graph = ready.cut.graph
    pieces = [*zip(segments(graph, [ready.cut]), sites.values(), strict=True)]
    layouts = agreed_layouts(pieces, graph)
    runs = {
        site.name: (PartJob(piece, site, ready.model, piece.name, layouts),)
        for piece, site in pieces
    }
    return RouteJob(name, row, ready, codec, runs, layouts)


def _all_on_device(loaded: Network, row: CutRow, device: Site, name: str) -> RouteJob:
    """The route that leaves the server nothing: no cut, no codec, and channels taken out."""
    plain = prepare(loaded, row.cut, None)
    ready = Ready(plain.model, plain.cut)
    (whole,) = segments(ready.model.graph, [])
    part = PartJob(whole, device, ready.model, whole.name)
    return RouteJob(name, row, ready, None, {device.name: (part,)}, {})


@dataclass(frozen=True)
class _Trunk:
    """What the routes of a bundle share.

    Args:
        model: The network without codecs and channels.
        cuts: Nested cuts of it, the smallest head first.
        sites: Where parts run.
    """

    model: Network
    cuts: tuple[Cut, ...]
    sites: Sites

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The layers between the cuts."""
        found = segments(self.model.graph, self.cuts)
        return tuple(replace(one, name=f"s{k}") for k, one in enumerate(found))

    @cached_property
    def layouts(self) -> Layouts:
        """How what passes between the segments lies, and crosses without a codec."""
        device, server = self.sites.values()
        pieces = [*((each, device) for each in self.segments[:-1])]
        pieces += [(each, server) for each in self.segments[1:]]
        return agreed_layouts(pieces, self.model.graph)

    def runs(self, cut: Cut) -> dict[str, tuple[PartJob, ...]]:
        """The parts on both sides of a cut."""
        end = self.cuts.index(cut) + 1
        device, server = self.sites.values()
        sides = ((device, "head", self.segments[:end]), (server, "tail", self.segments[end:]))
        return {
            site.name: tuple(
                PartJob(piece, site, self.model, f"{side}-{piece.name}", self.layouts)
                for piece in pieces
            )
            for site, side, pieces in sides
        }


def routes_of(
    loaded: Network, table: CutTable, specs: Sequence[RouteSpec], sites: Sites,
    batches: Sequence[Arrays],
) -> tuple[RouteJob, ...]:  # fmt: skip
    """The routes that are asked for, by the size of their heads.

    Of several, what lies between two cuts is compiled once for each site that runs it,
    whatever the routes; a codec is two small parts of its own, encoder and decoder.

    Args:
        loaded: The network.
        table: Its cuts without a codec.
        specs: What is asked for.
        sites: Where parts run.
        batches: Values to calibrate codecs with.

    Raises:
        UsageError: A layer, pass or option is unknown, or two routes are the same or share
            a name.
        IllegalCutError: Cuts are not nested, one may not be used, or a codec refuses it.
    """
    graph = table.problem.graph
    found = [(spec, spec.cut_in(graph)) for spec in specs]
    if len(found) == 1 and found[0][0].folder is None:
        ((spec, cut),) = found
        codec = spec.pipeline()
        row = usable(replace(table.problem, codec=codec), cut)
        return (one_route(loaded, row, codec, sites, batches, spec.name or ONE),)
    found.sort(key=lambda each: len(each[1].head))
    cuts = tuple(dict.fromkeys(cut for _, cut in found))
    plain = prepare(loaded, cuts[0], None).model
    trunk = _Trunk(plain, tuple(recut(cut, plain.graph) for cut in cuts), sites)
    _ = trunk.segments  # nested, all of them, before a codec is calibrated
    routes: list[RouteJob] = []
    for number, (spec, cut) in enumerate(found):
        at = trunk.cuts[cuts.index(cut)]
        route = _asked(loaded, table, trunk, spec, (cut, at), batches)
        name = spec.name or route_name(cut, spec, cuts.index(cut))
        route = replace(route, name=name)
        routes.append(route if route.codec is None else _coded(trunk, at, number, route))
    _refuse_twins(routes)
    return tuple(routes)


def _asked(
    loaded: Network, table: CutTable, trunk: _Trunk, spec: RouteSpec, cuts: tuple[Cut, Cut],
    batches: Sequence[Arrays],
) -> RouteJob:  # fmt: skip
    """A route with what is split there, but for the parts of a codec and its name.

    Args:
        loaded: The network.
        table: Its cuts without a codec.
        trunk: What routes share.
        spec: The route.
        cuts: Its cut, in the table's graph and in the trunk's.
        batches: Values to calibrate a codec with.
    """
    cut, at = cuts
    if spec.folder is not None:
        plain = usable(table.problem, cut)
        ready = trained_at(spec.folder, trunk.model, at)
        cost = replace(table.costs, graph=ready.model.graph).of(ready.cut)
        row = replace(plain, cost=cost, crosses=ready.cut.boundary)
        return RouteJob("", row, ready, Pipeline.parse(ready.text), {}, {})
    codec = spec.pipeline()
    row = usable(replace(table.problem, codec=codec), cut)
    ready = prepare(loaded, cut, codec, batches)
    if codec is None:
        ready = replace(ready, model=trunk.model, cut=at)
        return RouteJob("", row, ready, None, trunk.runs(at), trunk.layouts)
    return RouteJob("", row, ready, codec, {}, {})


def usable(problem: Problem, cut: Cut) -> CutRow:
    """What a cut costs.

    Raises:
        IllegalCutError: It may not be used.
    """
    row = problem.row(cut)
    refuse_unusable(problem, row)
    return row


def refuse_unusable(problem: Problem, row: CutRow) -> None:
    """Raise where a row may not be used.

    Raises:
        IllegalCutError: It may not.
    """
    if row.rejected is None:
        return
    what, hint = (
        f"cannot cut after '{row.cut.name}'",
        "`splitc cuts MODEL` lists the cuts there are",
    )
    if problem.codec is not None:
        hint += " with this codec"
    if row.kind in ("device", "server"):
        what = f"cannot leave all to the {row.kind}"
        hint = "--cut auto takes the best cut there is"
        if row.kind == "device" and problem.codec is not None:
            hint = "leave --codec out"
    if row.rejected == NO_TAIL:
        what, hint = (
            f"cannot cut after '{row.cut.name}'",
            "--cut device compiles all for the device",
        )
    if row.rejected == problem.why_results_here(row.cut):
        hint = "cut before it, or leave --results server out"
    raise IllegalCutError(what, why=row.rejected, hint=hint)


def _coded(trunk: _Trunk, at: Cut, number: int, route: RouteJob) -> RouteJob:
    """A route with the parts of its codec, and how what crosses lies."""
    (tensor,) = at.boundary
    ready, sites = route.ready, trunk.sites
    names = (f"enc{number}", f"dec{number}")
    encoder, decoder = codec_segments(at, ready.cut, names)
    own = agreed_layouts([*zip((encoder, decoder), sites.values(), strict=True)], ready.model.graph)
    (restored,) = decoder.sends
    layouts: dict[str, Layout] = {t.name: own[t.name] for t in ready.cut.boundary if t.name in own}
    if tensor.name in trunk.layouts:
        # What comes behind the decoder reads the tensor that it stands for, as that one lies.
        layouts |= dict.fromkeys((tensor.name, restored.name), trunk.layouts[tensor.name])
    runs = trunk.runs(at)
    device, server = sites.values()
    first = PartJob(encoder, device, ready.model, f"head-{encoder.name}", layouts)
    then = PartJob(
        decoder, server, ready.model, f"tail-{decoder.name}", layouts, {restored.name: tensor.name}
    )
    runs = {DEVICE: (*runs[DEVICE], first), SERVER: (then, *runs[SERVER])}
    return replace(route, runs=runs, layouts=layouts)


def _refuse_twins(routes: Sequence[RouteJob]) -> None:
    """Raise where two routes are one, or share a name."""
    names: dict[str, RouteJob] = {}
    for route in routes:
        if route.name in names:
            raise UsageError(f"there are two routes '{route.name}'", hint="name one cut once")
        names[route.name] = route
    ways = {(route.row.cut.layers, str(route.codec)) for route in routes}
    if len(ways) < len(routes):
        raise UsageError("two routes are the same", why="a cut and a codec make one route")
