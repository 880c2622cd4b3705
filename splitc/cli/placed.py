# SPDX-License-Identifier: Apache-2.0
"""`splitc cuts --via`: which layers run on which of several machines in a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich.table import Table

from splitc.cli import show
from splitc.cli.objects import LinkObject, Printed
from splitc.errors import UsageError
from splitc.ir.proof import FlowProof, Proof
from splitc.search.limits import Constraints
from splitc.search.placing import Placed, find_placement
from splitc.search.scenario import HEAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitc.cost.chain import ChainCost
    from splitc.ir.graph import LayerGraph
    from splitc.ir.model import Network
    from splitc.link.link import Link
    from splitc.search.scenario import Scenario

_NAME = 24


class SiteObject(msgspec.Struct, frozen=True, kw_only=True):
    """A machine: the layers that it runs, how long they take there, and what goes on from it:
    bytes and milliseconds over its link to the next, results back and the round trip in them;
    null for the last."""

    name: str
    board: str
    layers: tuple[str, ...]
    ms: float
    link: LinkObject | None
    sent_bytes: int | None
    link_ms: float | None


class PlacedObject(Printed, frozen=True):
    """`splitc cuts --via`: the best placement, its proof, and what it costs to run every layer on
    one machine. `objective` and `alone` are in seconds, joules where energy is minimised."""

    figures: tuple[str, ...]
    minimised: str
    objective: float
    latency_ms: float
    energy_mj: float
    sites: tuple[SiteObject, ...]
    alone: dict[str, float]
    proof: Proof

    @staticmethod
    def of(one: Placed) -> PlacedObject:
        """What the verb prints."""
        cost, sites, links = (
            one.cost,
            one.problem.topology.sites,
            [hop.link for hop in one.problem.chain.hops],
        )
        last = len(links)
        return PlacedObject(
            figures=tuple(site.cost.label for site in sites), minimised=one.problem.objective,
            objective=one.value(cost), latency_ms=cost.latency_s * 1e3,
            energy_mj=cost.device.energy_j * 1e3,
            sites=tuple(
                SiteObject(
                    name=site.name, board=site.cost.board.name, layers=one.layers(k),
                    ms=cost.site_s[k] * 1e3,
                    link=LinkObject.of(links[k]) if k < last else None,
                    sent_bytes=cost.hop_bytes[k] if k < last else None,
                    link_ms=cost.hop_s[k] * 1e3 if k < last else None,
                )
                for k, site in enumerate(sites)
            ),
            alone={site.name: one.value(one.alone(k)) for k, site in enumerate(sites)},
            proof=one.solution.proof,
        )  # fmt: skip


def place(model: Network | LayerGraph, scenario: Scenario, via: Sequence[str]) -> Placed:
    """The best placement on the device, the machines between and the server.

    Args:
        model: The network.
        scenario: Device, server, the first link, the objective, pins and cutter.
        via: `BOARD:LINK` of each machine between: the link leads on from it.

    Raises:
        UsageError: One is malformed, or there is a limit or a codec.
    """
    if scenario.limits != Constraints() or scenario.codec or scenario.auto:
        what = "--via, and a codec" if scenario.codec or scenario.auto else "--via, and a limit"
        why = "places of layers on several machines are found without limits and codecs"
        raise UsageError(what, why=why, hint="--pin LAYER=head|tail can be kept")
    between = [_via(text) for text in via]
    last = len(between) + 1
    return find_placement(
        model, [scenario.head, *(board for board, _ in between), scenario.tail],
        [scenario.link, *(link for _, link in between)], objective=scenario.objective,
        pins={name: 0 if side == HEAD else last for name, side in scenario.pins},
        results=scenario.results,
        **({} if scenario.cutter is None else {"cutter": scenario.cutter}),
    )  # fmt: skip


def _via(text: str) -> tuple[str, Link]:
    """A board, and the link that leads on from it."""
    from splitc.link.link import LINKS, Link

    board, colon, way = text.rpartition(":")
    if not colon or not board or not way:
        hint = "BOARD:LINK, like rpi5:ethernet, rpi5:100Mbit or rpi5:100Mbit,5ms"
        raise UsageError(f"--via {text}", hint=hint)
    if way in LINKS or not way[0].isdigit():
        return board, Link.named(way)
    bandwidth, _, rtt = way.partition(",")
    return board, Link(bandwidth, rtt=rtt or 0.0)


def print_placed(one: Placed, *, quiet: bool) -> None:
    """Print it as people read it."""
    console = show.out()
    console.print(_view(one))
    cost = one.cost
    unit, value = _unit(one, cost)
    console.print(f"Together {value} {unit}.")
    if quiet:
        return
    alone = [
        f"{site.name} {_unit(one, one.alone(k))[1]}"
        for k, site in enumerate(one.problem.topology.sites)
    ]
    console.print(f"All layers on one machine, in {unit}: {', '.join(alone)}.")
    for label in dict.fromkeys(site.cost.label for site in one.problem.topology.sites):
        console.print(f"Times are {label}.", style="dim")
    console.print(f"{_proved(one.solution.proof)}.", style="dim")
    console.print(
        "A bundle holds two machines: this is a plan, and nothing compiles it.", style="dim"
    )


def _proved(proof: Proof) -> str:
    if isinstance(proof, FlowProof):
        solved = f"{proof.stretches} minimum cut{'s' if proof.stretches != 1 else ''}"
        return f"No other way costs less: a shortest path, with {solved} on the way"
    return show.proved(proof)


def _unit(one: Placed, cost: ChainCost) -> tuple[str, str]:
    if one.problem.objective == "energy":
        return "mJ", f"{1e3 * one.value(cost):.1f}"
    return "ms", show.milliseconds(one.value(cost))


def _view(one: Placed) -> Table:
    """A line for each machine, and what goes on from it."""
    view = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for head, side in (
        ("site", "left"), ("board", "left"), ("layers", "right"), ("last", "left"), ("ms", "right"),
        ("sends", "right"), ("link", "left"), ("ms", "right"),
    ):  # fmt: skip
        view.add_column(head, justify=side, no_wrap=True)  # type: ignore[arg-type]
    cost, links = one.cost, [hop.link for hop in one.problem.chain.hops]
    for k, site in enumerate(one.problem.topology.sites):
        layers = one.layers(k)
        cells = [site.name, site.cost.board.name, str(len(layers))]
        cells += [_short(layers[-1]) if layers else "–", show.milliseconds(cost.site_s[k])]
        if k < len(links):
            sent = show.short_bytes(cost.hop_bytes[k]) if cost.hop_bytes[k] else "–"
            cells += [sent, str(links[k]).partition(" (")[0].partition(",")[0]]
            cells += [show.milliseconds(cost.hop_s[k])]
        view.add_row(*map(show.plain, cells))
    return view


def _short(name: str) -> str:
    return name if len(name) <= _NAME else "…" + name[1 - _NAME :]
