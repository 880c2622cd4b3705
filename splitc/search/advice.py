# SPDX-License-Identifier: Apache-2.0
"""What would make a split pay that does not: another link, fewer bytes, another aim."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from splitc.cost.prices import OBJECTIVES, CutCost, Objective
from splitc.search.problem import CutRow
from splitc.search.table import CutTable

FASTEST_BPS, SLOWEST_BPS = 1e10, 1e3
"""The fastest and the slowest link that are tried."""

_STEPS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
_FEWER = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Changes:
    """What was found, each alone and with all else as it is, by the table's own figures.

    Args:
        bandwidth_bps: The least bandwidth above the link's, of round ones, at which some cut
            beats every baseline; where there is none, the largest one below.
        times_fewer: How many times fewer bytes have to cross some cut, a power of two, the
            codec's own time left out; None too where the table has a codec already.
        objectives: Other objectives by which some cut beats every baseline.
    """

    bandwidth_bps: float | None = None
    times_fewer: int | None = None
    objectives: tuple[Objective, ...] = ()


def what_would_pay(table: CutTable) -> Changes:
    """What would make the best usable cut of a table better than every baseline."""
    aim = table.objective
    return Changes(
        bandwidth_bps=next(
            (bps for bps in _others(table.costs.link.bandwidth_bps) if _pays_at(table, bps)), None
        ),
        times_fewer=next((few for few in _FEWER if _pays_with(table, few)), None),
        objectives=tuple(
            other
            for other in OBJECTIVES
            if other != aim
            and _beats((row.cost for row in table.usable), _bases(table), other)
        ),
    )  # fmt: skip


def _bases(table: CutTable) -> list[CutCost]:
    return [row.cost for row in table.baselines]


def _beats(cuts: Iterable[CutCost], bases: Iterable[CutCost], aim: Objective) -> bool:
    best = min((cost.value(aim) for cost in cuts), default=math.inf)
    return best < min(cost.value(aim) for cost in bases)


def _others(bandwidth_bps: float) -> list[float]:
    """Round bandwidths above one, ascending, then those below, descending."""
    powers = range(math.floor(math.log10(SLOWEST_BPS)), math.ceil(math.log10(FASTEST_BPS)))
    every = [step * 10.0**power for power in powers for step in _STEPS] + [FASTEST_BPS]
    faster = [bps for bps in every if bps > bandwidth_bps]
    return [*faster, *(bps for bps in reversed(every) if bps < bandwidth_bps)]


def _pays_at(table: CutTable, bandwidth_bps: float) -> bool:
    """Whether some cut beats every baseline over a link of another bandwidth.

    What a link takes for packets is inverse to its bandwidth; its round trip stays.
    """
    share = table.costs.link.bandwidth_bps / bandwidth_bps
    watts = table.costs.device.board.compute_power_w

    def over(cost: CutCost) -> CutCost:
        computing_j = watts * cost.head_s
        return replace(
            cost,
            busy_s=cost.busy_s * share,
            link_s=cost.link_s - cost.busy_s * (1 - share),
            energy_j=computing_j + (cost.energy_j - computing_j) * share,
        )

    cuts = (over(row.cost) for row in table.usable)
    return _beats(cuts, map(over, _bases(table)), table.objective)


def _pays_with(table: CutTable, times_fewer: int) -> bool:
    """Whether a cut that one tensor crosses beats every baseline with fewer bytes there."""
    if table.problem.codec is not None:
        return False
    link, watts = table.costs.link, table.costs.device.board.transmit_power_w

    def coded(row: CutRow) -> CutCost:
        nbytes = row.cost.boundary_bytes
        saved_s = link.transfer_s(nbytes) - link.transfer_s(-(-nbytes // times_fewer))
        cost = row.cost
        return replace(
            cost, busy_s=cost.busy_s - saved_s, link_s=cost.link_s - saved_s,
            energy_j=cost.energy_j - watts * saved_s,
        )  # fmt: skip

    cuts = (coded(row) for row in table.usable if row.kind == "single")
    return _beats(cuts, _bases(table), table.objective)
