# SPDX-License-Identifier: Apache-2.0
"""Scenarios: the machines, the link, what is wanted, and who finds the cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from splitc.cost.board import Board
from splitc.cost.prices import RESULTS_AT, CostModel, Objective, ResultsAt
from splitc.cost.sent_input import SERVER_INPUTS, JpegSizes, ServerInput
from splitc.cost.topology import Topology, cost_model
from splitc.errors import UsageError, one_of
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.layer_names import layers_called
from splitc.link.link import Link, parse_share
from splitc.passes.at_cut import codec_of
from splitc.passes.base import Pass, Pipeline
from splitc.search.cutter import Cutter
from splitc.search.limits import Constraints
from splitc.search.problem import Problem

if TYPE_CHECKING:
    from splitc.arrays import Arrays

AUTO = "auto"
"""The codec that is to be chosen by samples."""
NO_AUTO = "only `splitc cuts` and `splitc compile` choose one, for one cut"
Side = Literal["head", "tail"]
HEAD: Literal["head"] = "head"
TAIL: Literal["tail"] = "tail"
SIDES: tuple[Side, Side] = (HEAD, TAIL)


class Conditions(TypedDict, total=False):
    """The keywords that `splitc.find_cuts` and `splitc.compile` take a scenario as.

    `head` and `tail`: board of the device (by default rpi4) and of the server (host), by name,
    file or object, or a cost model of one's own. `link`: what lies between, a `Link` or the
    name of one (wifi). `objective`: what is minimised (latency). `constraints`: limits to
    keep. `codec`: passes that stand at the cut, or their text; their `cut` is left open.
    `pins`: layers that have to run on the device (head) or the server (tail), by name; a
    module's name stands for all its layers. `cutter`: the algorithm that finds the cut, or its
    text; by default one that is exact where there is one. `results`: where they are wanted, at
    the device or at the server. `server_input`: how the network's inputs would be sent to a
    server that runs all of it, which splits are held against: see `ways_to_send`.
    """

    head: str | Board | CostModel
    tail: str | Board | CostModel
    link: Link | str
    objective: Objective
    constraints: Constraints | None
    codec: Pass | Pipeline | str | None
    pins: Mapping[str, Side]
    cutter: Cutter | str | None
    results: ResultsAt
    server_input: ServerInput
    calibrate: str | Path | Sequence[Arrays]
    max_drop: float | str


@dataclass(frozen=True)
class AutoCodec:
    """That a codec which needs no training is to be chosen by what samples say that it costs.

    Args:
        max_drop: Share of the samples whose arg-max may be another than the network's without a
            codec; of a network whose first result has no classes, the relative error.
        cut: The only cut to look at, as `--cut` has it; "" for all.

    Raises:
        UsageError: The share is not in [0, 1].
    """

    max_drop: float = 0.01
    cut: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop <= 1:
            raise UsageError(f"max drop {self.max_drop:g} is not in 0 to 1", hint="like 1%")


@dataclass(frozen=True)
class Scenario:
    """Where a network is to run, and what is wanted of the cut.

    Args:
        head: Times of layers on the device, and its board.
        tail: The same of the server.
        link: What lies between.
        objective: What is minimised.
        limits: What the cut must keep.
        codec: What stands around the tensor that crosses.
        cutter: Who finds the cut; None for one that is exact where there is one.
        pins: Layers, or modules of them, that have to run on one side.
        results: Where the network's results are wanted.
        server_input: How its inputs would be sent to a server that runs all of it.
        jpeg: What frames take as JPEG, where that was measured.
        samples: What codecs and JPEG are measured on: arrays by input name, or an .npz file.
        auto: How a codec is to be chosen, where that was asked for.
    """

    head: CostModel
    tail: CostModel
    link: Link
    objective: Objective = "latency"
    limits: Constraints = field(default_factory=Constraints)
    codec: Pipeline | None = None
    cutter: Cutter | None = None
    pins: tuple[tuple[str, Side], ...] = ()
    results: ResultsAt = "device"
    server_input: ServerInput = "auto"
    jpeg: JpegSizes | None = None
    samples: str | Path | Sequence[Arrays] = field(default=(), repr=False, compare=False)
    auto: AutoCodec | None = None

    def __post_init__(self) -> None:
        one_of(RESULTS_AT, self.results, "place for results")
        one_of(SERVER_INPUTS, self.server_input, "way to send inputs")

    @staticmethod
    def of(
        *,
        head: str | Board | CostModel = "rpi4",
        tail: str | Board | CostModel = "host",
        link: Link | str = "wifi",
        objective: Objective = "latency",
        constraints: Constraints | None = None,
        codec: Pass | Pipeline | str | None = None,
        pins: Mapping[str, Side] | None = None,
        cutter: Cutter | str | None = None,
        results: ResultsAt = "device",
        server_input: ServerInput = "auto",
        calibrate: str | Path | Sequence[Arrays] = (),
        max_drop: float | str | None = None,
    ) -> Scenario:
        """A scenario from what a user gives; see `Conditions`.

        Raises:
            UsageError: An unknown board, link or cutter; a codec that is none, or with
                options that fit nowhere; no such place for results or way to send inputs.
        """
        chosen = codec == AUTO
        if max_drop is not None and not chosen:
            raise UsageError("a max drop without codec auto", hint="--codec auto --calibrate FILE")
        share = AutoCodec.max_drop if max_drop is None else parse_share(max_drop)
        return Scenario(
            cost_model(head),
            cost_model(tail),
            link if isinstance(link, Link) else Link.named(link),
            objective,
            constraints or Constraints(),
            None if chosen else codec_of(codec),
            Cutter.parse(cutter) if isinstance(cutter, str) else cutter,
            tuple((pins or {}).items()),
            results,
            server_input,
            samples=calibrate,
            auto=AutoCodec(share) if chosen else None,
        )

    def batches(self, graph: LayerGraph) -> Sequence[Arrays]:
        """The samples.

        Raises:
            UsageError: The file cannot be read, or does not fit the network's inputs.
        """
        if not isinstance(self.samples, str | Path):
            return self.samples
        from splitc.passes.calibration import read_batches

        return read_batches(self.samples, graph.inputs)

    def problem(self, graph: LayerGraph) -> Problem:
        """The placement problem of a network in this scenario.

        Raises:
            UsageError: No layer is called like a pin, or pins contradict each other; or a codec
                is still to be chosen.
        """
        if self.auto is not None:
            raise UsageError("codec auto", why=NO_AUTO, hint="name a codec: `splitc passes`")
        topology = Topology.pair(self.head, self.tail, self.link, *self._pinned(graph))
        return Problem(graph, topology, self.objective, self.limits, self.codec, self.results)

    def _pinned(self, graph: LayerGraph) -> tuple[frozenset[str], frozenset[str]]:
        """Names of the layers that have to run on the device, and on the server."""
        sides: dict[str, str] = {}
        for text, side in self.pins:
            for name in layers_called(text, graph.index):
                if sides.setdefault(name, side) != side:
                    raise UsageError(f"'{name}' is pinned to the head and to the tail")
                if graph.layer(name).is_input and side == TAIL:
                    raise UsageError(
                        f"'{name}' cannot be pinned to the tail", why="inputs come in at the device"
                    )
        head, tail = ([name for name, at in sides.items() if at == side] for side in SIDES)
        needed = Cut.after(graph, head)
        for name in tail:
            if needed.holds(graph.index[name]):
                why = f"a layer that is pinned to the head needs '{name}'"
                raise UsageError(f"'{name}' cannot be pinned to the tail", why=why)
        return frozenset(head), frozenset(tail)


def scenario_of(scenario: Scenario | None, conditions: Conditions) -> Scenario:
    """The scenario that was given, or the one that keywords say.

    Raises:
        UsageError: Both were given; or see `Scenario.of`.
    """
    if scenario is None:
        return Scenario.of(**conditions)
    if conditions:
        names = ", ".join(conditions)
        raise UsageError("a scenario was given, and keywords beside it", why=f"these: {names}")
    return scenario
