# SPDX-License-Identifier: Apache-2.0
"""Plans for conditions: the cuts that a bundle should carry, and which one each condition wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Unpack

from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.model import Model, Network
from splitc.search.grid import PAPER, Grid, Point
from splitc.search.plan_file import (
    SCHEMA,
    Condition,
    PlanFile,
    PlanLink,
    PlanModel,
    PlanRoute,
    Skipped,
)
from splitc.search.route_set import RouteSet, choose_routes
from splitc.search.scenario import Conditions, Scenario, scenario_of
from splitc.search.sweep import Key, Search, Sweep, Times, sweep

ROUTES = 4
"""Cuts that a bundle carries at most where nobody says how many."""
_LONGEST_NAME = 64


@dataclass(frozen=True)
class ConditionPlan:
    """A sweep, and the routes chosen by it.

    Args:
        scenario: The machines, and the link but for its bandwidth.
        swept: What every cut takes under every condition.
        chosen: The cuts that a bundle should carry.
        carried: What they take: the sweep's figures of them, or what was measured.
    """

    scenario: Scenario = field(repr=False)
    swept: Sweep
    chosen: RouteSet
    carried: Sweep

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The routes' names, as `--route` takes them."""
        return tuple(_name(cut, number) for number, cut in enumerate(self.carried.cuts))

    @property
    def is_measured(self) -> bool:
        """Whether the routes' times are measured; else all cuts' are modelled."""
        return self.carried.whole_s is None

    @property
    def compared(self) -> Sweep:
        """What transitions are between: the routes where they were measured, else all cuts."""
        return self.carried if self.is_measured else self.swept

    @property
    def regret_share(self) -> float:
        """The routes' mean regret over the mean latency of the best cuts."""
        return self.chosen.regret_s / float(self.swept.latency_s.min(axis=1).mean())

    def measured(
        self,
        points: Sequence[Point],
        latency_s: Times,
        figures: str,
        skipped: Sequence[tuple[Point, str]],
    ) -> ConditionPlan:
        """The same plan with the routes' times as they were measured [points, routes]."""
        carried = replace(
            self.carried, points=tuple(points), latency_s=latency_s, figures=figures,
            whole_s=None, kind=f"{len(self.carried.cuts)} routes", skipped=tuple(skipped),
        )  # fmt: skip
        return replace(self, carried=carried)

    def file(self, network: Network) -> PlanFile:
        """What `splitc compile --plan` and the policy read."""
        link, carried = self.scenario.link, self.carried
        routes = zip(self.names, carried.cuts, carried.costs, strict=True)
        return PlanFile(
            schema=SCHEMA,
            model=PlanModel(network.name, network.digest),
            head=self.scenario.head.board.name,
            tail=self.scenario.tail.board.name,
            link=PlanLink(link.rtt_s, link.loss_rate),
            figures=carried.figures,
            routes=tuple(
                PlanRoute(name, cut.layers, cost.boundary_bytes) for name, cut, cost in routes
            ),
            conditions=tuple(
                Condition(
                    *point, self.names[int(best)],
                    dict(zip(self.names, map(float, times), strict=True)),
                )
                for point, best, times in zip(
                    carried.points, carried.best, carried.latency_s, strict=True
                )
            ),
            skipped=tuple(Skipped(*point, why) for point, why in carried.skipped),
        )  # fmt: skip


def plan_for_conditions(
    model: Model | LayerGraph,
    grid: Grid = PAPER,
    *,
    routes: int = ROUTES,
    scenario: Scenario | None = None,
    bests: Sequence[Key] | None = None,
    **conditions: Unpack[Conditions],
) -> ConditionPlan:
    """Sweep a grid of conditions over all cuts, and choose those that a bundle should carry.

    Args:
        model: What to cut.
        grid: The conditions; by default the paper's.
        routes: Cuts that a bundle is to carry at most.
        scenario: Where it is to run.
        bests: The quickest cut of each of the grid's points, where they are known already.
        conditions: The scenario as keywords: `head`, `tail`, `link` and so on.

    Raises:
        UsageError: An unknown board; fewer than one route; or see `Search`.
        NoLegalCutError: There is no legal cut.

    References:
        McNamee et al., "A Case for Adaptive Deep Neural Networks in Edge Computing", 2020,
        arXiv:2008.01814.
    """
    given = scenario_of(scenario, conditions)
    swept = sweep(Search.of(model, given), grid.points, bests)
    chosen = choose_routes(swept, routes)
    return ConditionPlan(given, swept, chosen, swept.only(chosen.places))


def _name(cut: Cut, number: int) -> str:
    name = "+".join(cut.layers)
    return name if len(name) <= _LONGEST_NAME and name.isprintable() else f"cut{number}"
