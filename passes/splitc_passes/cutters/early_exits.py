# SPDX-License-Identifier: Apache-2.0
"""The cutter `early-exits`: the least expected time where some frames leave the network early."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import ClassVar, NamedTuple

import msgspec

from splitc.cost.prices import arriving_prices
from splitc.errors import UsageError
from splitc.ir.graph import LayerGraph
from splitc.ir.placement import Placement
from splitc.search.cutter import Cutter, Solution, refuse
from splitc.search.evidence import Evidence
from splitc.search.problem import Problem
from splitc_passes.cutters.flow_evidence import flow_evidence
from splitc_passes.cutters.min_cut import cheapest_cut

_EXIT = re.compile(r"\s*(?P<layer>.+):(?P<share>[0-9.eE+-]+)\s*")


class Exit(NamedTuple):
    """A place where frames leave the network, sure of their class.

    Args:
        layer: The last layer that they run, one that no edge passes by.
        share: Of the frames that come there, how many leave, from 0 to 1.
    """

    layer: str
    share: float


@dataclass(frozen=True)
class EarlyExits(Cutter):
    """The cut with the least expected time, of all downsets, where frames leave early.

    A frame that left runs no later layer and crosses no link behind its exit: so what a layer
    takes, what a tensor's way takes and the round trip each count with the share of frames that
    come so far, and the sum is a minimum cut. What an exit's own classifier takes is counted
    where it is among the network's layers.

    Args:
        exits: `LAYER:SHARE,LAYER:SHARE,…`: of the frames that come to a layer, how many leave.

    Raises:
        UsageError: An exit is malformed, its layer is unknown or has edges that pass it by.
        NoLegalCutError: No proper cut has a boundary that can cross a link.

    References:
        Teerapittayanon, McDanel, Kung, "BranchyNet", ICPR 2016; Laskaridis et al., "SPINN",
        MobiCom 2020: the expected time over exits and a cut.
    """

    name: ClassVar[str] = "early-exits"

    exits: str = ""

    def __post_init__(self) -> None:
        _read(self.exits)

    def refuses(self, problem: Problem) -> str | None:
        """Why it does not solve the problem."""
        if len(problem.topology.sites) != 2:
            return "it divides layers between two sites"
        if problem.objective != "latency":
            return "it minimises the expected latency"
        return problem.why_no_sum or problem.limited

    def solve(self, problem: Problem) -> Solution:
        """The cut, and the flow that proves it; `cost` is that of a frame that does not leave."""
        refuse(self, problem)
        come = arriving(problem.graph, _read(self.exits))
        prices = arriving_prices(problem.graph, problem.prices(), come)
        cut, proof = cheapest_cut(problem.graph, prices, pinned=problem.pinned)
        named = msgspec.structs.replace(proof, cutter=str(self))
        return Solution(Placement.of_cuts([cut]), problem.cost(cut), named)

    def evidence(self, problem: Problem, solution: Solution) -> Evidence:
        """The problem, how many frames come how far, and flows that no cut costs less than."""
        come = arriving(problem.graph, _read(self.exits))
        prices = arriving_prices(problem.graph, problem.prices(), come)
        flows = flow_evidence(problem, prices, solution.proof)
        return Evidence.of(problem, arriving=come, flows=flows)


def arriving(graph: LayerGraph, exits: Sequence[Exit]) -> tuple[float, ...]:
    """The share of frames that come to each layer, and one more: that leave at none.

    Raises:
        UsageError: An exit's layer is unknown, named twice, or edges pass it by.
    """
    stay = [1.0] * (len(graph) + 1)
    for one in exits:
        position = graph.index[graph.layer(one.layer).name]
        if position not in graph.dominators:
            why = "frames that stay go round it"
            raise UsageError(f"there is no exit after '{one.layer}'", why=why)
        if stay[position + 1] != 1.0:
            raise UsageError(f"there are two exits after '{one.layer}'")
        stay[position + 1] = 1.0 - one.share
    return tuple(accumulate(stay, mul))


def _read(text: str) -> tuple[Exit, ...]:
    found: list[Exit] = []
    for part in text.split(",") if text else ():
        match = _EXIT.fullmatch(part)
        try:
            share = float(match["share"]) if match else -1.0
        except ValueError:
            share = -1.0
        if match is None or not 0 <= share <= 1:
            hint = "LAYER:SHARE with a share from 0 to 1, like layer1.1.relu:0.4"
            raise UsageError(f"'{part}' is no exit", hint=hint)
        found.append(Exit(match["layer"], share))
    return tuple(found)
