# SPDX-License-Identifier: Apache-2.0
"""`splitc simulate`: device, server and link of a bundle on a simulated clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from splitc.cli import gates
from splitc.cli import options as o
from splitc.cli import send as sending
from splitc.cli.simulate_options import (
    SIMULATED,
    LinkOptions,
    Seed,
    Times,
    Vary,
    WireOptions,
)
from splitc.cli.spread import spread
from splitc.errors import UsageError, nearest

if TYPE_CHECKING:
    from splitc.policy.base import Policy
    from splitc.send.settings import Settings, Transport
    from splitc.simulate import Parts, Simulated

_FRAMES = 1000
"""Frames where no inputs say how many."""
_COMPARED = ("transports", "routes")

_LINK, _WIRE = LinkOptions(), WireOptions()


class _Way(NamedTuple):
    """One way of sending the frames."""

    name: str
    settings: Settings
    policy: Policy


@spread
def simulate_(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder written by compile.")],
    inputs: Annotated[
        str | None,
        typer.Option("--input", metavar="FILE|DIR", rich_help_panel=sending.FRAMES,
                     help="Frames, as of splitc send; without them no values go through."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="FILE.npy", rich_help_panel=sending.FRAMES,
                     help="The right class of each frame: prints the accuracy."),
    ] = None,
    no_values: Annotated[
        bool,
        typer.Option("--no-values", rich_help_panel=sending.FRAMES,
                     help="Times alone: nothing is loaded, nothing computes."),
    ] = False,
    frames: Annotated[
        int | None,
        typer.Option("--frames", metavar="N", min=1, rich_help_panel=sending.FRAMES,
                     help="How many; inputs come again. By default each once, or 1000."),
    ] = None,
    rate: Annotated[
        float,
        typer.Option("--rate", metavar="FPS", envvar="SPLITC_RATE", rich_help_panel=sending.FRAMES,
                     help="Frames a second, and a frame's wait counts. 0: one behind the other."),
    ] = 0.0,
    link: LinkOptions = _LINK,
    wire: WireOptions = _WIRE,
    route: sending.Route = None,
    policy: sending.PolicyText = None,
    within: Annotated[
        str | None,
        typer.Option("--within", metavar="TIME", envvar="SPLITC_WITHIN",
                     rich_help_panel=sending.ROUTES,
                     help="Frames answered later are missed: by default --deadline. The policy "
                     "[b]adaptive[/] chooses the routes to keep it."),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option("--compare", metavar="transports|routes", rich_help_panel=SIMULATED,
                     help="All transports; or every route, and what chooses among them."),
    ] = None,
    times: Times = "predicted",
    vary: Vary = 0.0,
    seed: Seed = 0,
    plot: Annotated[
        str | None,
        typer.Option("--plot", metavar="FILE.svg|png", rich_help_panel=SIMULATED,
                     help="Draw the share of frames that is done by a time (splitc\\[plot])."),
    ] = None,
    fail_on: gates.FailOn = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Run BUNDLE's device and server with a simulated link between them: latency, accuracy,
    energy, without a network."""
    from splitc.bundle.bundle import Bundle
    from splitc.cli import show
    from splitc.cli.results import read_labels
    from splitc.cli.simulate_object import SimulatedRunObject, SimulateObject
    from splitc.cli.simulate_show import print_simulated
    from splitc.link.link import parse_seconds
    from splitc.pictures import check_plot
    from splitc.runtime.inputs import read_inputs
    from splitc.send.steering import chosen_policy, keeping
    from splitc.simulate import BundleParts, simulate
    from splitc.simulate.parts import parse_times
    from splitc.simulate.plot import plot as draw

    wanted = gates.read_gates(fail_on, "simulate")
    if plot is not None:
        check_plot(Path(plot))
    if inputs is not None and no_values:
        raise UsageError("give one of --input and --no-values")
    if labels is not None and inputs is None:
        raise UsageError("--labels are of no use without --input")
    settings, two_ways = wire.settings(), link.two_ways()
    classes: list[int] | None = None
    chosen = chosen_policy(route, policy, None)
    within_s = settings.deadline_s if within is None else parse_seconds(within)
    if within is not None:
        chosen = keeping(chosen, within_s) or chosen
    with ExitStack() as stack:
        step = stack.enter_context(show.progress(quiet))
        step("loading parts" if inputs is not None else "reading the bundle")
        parts = stack.enter_context(
            BundleParts.open(bundle, values=inputs is not None, times=parse_times(times))
        )
        given = None if inputs is None else read_inputs(inputs, parts.inputs)
        if given is not None:
            right = given.labels if labels is None else read_labels(Path(labels), len(given))
            classes = None if right is None else [int(one) for one in right]
        runs: dict[_Way, Simulated] = {}
        for way in _ways(parts, settings, wire.transport, chosen, compare):
            step(f"simulating {way.name}")
            runs[way] = simulate(
                parts, two_ways, way.settings, frames=frames or len(given or ()) or _FRAMES,
                rate=rate, policy=way.policy, seed=seed, spread=vary, inputs=given or (),
                labels=classes,
            )  # fmt: skip
    found = SimulateObject(
        bundle=bundle,
        link=link.shown(two_ways),
        figures=parts.figures,
        values=parts.has_values,
        frames=len(next(iter(runs.values())).records),
        rate=rate,
        seed=seed,
        spread=vary,
        within_s=within_s,
        runs=tuple(
            SimulatedRunObject.of(way.name, way.settings.transport, str(way.policy), one, within_s)
            for way, one in runs.items()
        ),
    )
    if plot is not None:
        title = f"{Path(bundle).name}, {found.frames:,} frames over {link.text(two_ways)}"
        named = {way.name: one for way, one in runs.items()}
        draw(plot, named, title, within_s=within_s, trace=two_ways.up.varying)
    found = gates.judged(found, wanted, Bundle.open(bundle).manifest)
    if json:
        show.print_json(found)
    else:
        print_simulated(found, link.text(two_ways), quiet=quiet)
    gates.close(found.gates, json=json)


def _ways(
    parts: Parts, settings: Settings, transports: str, policy: Policy | None, compare: str | None
) -> Iterator[_Way]:
    """What is simulated, each once.

    Raises:
        UsageError: There is no such transport, or nothing to compare by that name.
    """
    from splitc.policy.adaptive import Adaptive
    from splitc.policy.fixed import Fixed

    if compare not in (None, *_COMPARED):
        raise UsageError(f"there is no comparing of '{compare}'", hint=nearest(compare, _COMPARED))
    names = [remote.name for remote in parts.remotes]
    policy = policy or (Adaptive() if len(names) > 1 else Fixed(names[0]))
    policies: dict[str, Policy] = {"": policy}
    if compare == "routes":
        policies = {name: Fixed(name) for name in names}
        if len(names) > 1:
            chooses = Adaptive() if isinstance(policy, Fixed) else policy
            policies[chooses.name] = chooses
    over = _transports(transports, every=compare == "transports")
    for transport in over:
        for name, one in policies.items():
            title = " ".join(word for word in (transport if len(over) > 1 else "", name) if word)
            yield _Way(title or transport, replace(settings, transport=transport), one)


def _transports(text: str, *, every: bool) -> list[Transport]:
    """Transports by their names; of all of them those that this installation has."""
    from splitc.send.settings import TRANSPORTS

    if every:
        return [name for name in TRANSPORTS if name != "parity" or find_spec("zfec") is not None]
    found: list[Transport] = []
    for word in dict.fromkeys(text.split(",")):
        known: list[Transport] = [name for name in TRANSPORTS if name == word.strip()]
        if not known:
            raise UsageError(f"there is no transport '{word}'", hint=nearest(word, TRANSPORTS))
        found += known
    return found
