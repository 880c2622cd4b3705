# SPDX-License-Identifier: Apache-2.0
"""What would make a split pay that does not: a faster link, fewer bytes, another aim."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from splitc.cost.prices import OBJECTIVES, CutCost, Objective
from splitc.search.problem import CutRow
from splitc.search.table import CutTable

FASTEST_BPS = 1e10
"""The fastest link that is tried."""

_STEPS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
_FEWER = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Changes:
    """What was found, each alone and with all else as it is, by the table's own figures.

    Args:
        bandwidth_bps: The least bandwidth above the link's, of round ones, at which some cut
            beats both baselines.
        times_fewer: How many times fewer bytes have to cross some cut, a power of two, the
            codec's own time left out; None too where the table has a codec already.
        objectives: Other objectives by which some cut beats both baselines.
    """

    bandwidth_bps: float | None = None
    times_fewer: int | None = None
    objectives: tuple[Objective, ...] = ()


def what_would_pay(table: CutTable) -> Changes:
    """What would make the best usable cut of a table better than either baseline."""
    aim = table.objective
    return Changes(
        bandwidth_bps=next(
            (bps for bps in _faster(table.costs.link.bandwidth_bps) if _pays_at(table, bps)), None
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


def _faster(bandwidth_bps: float) -> list[float]:
    """Round bandwidths above one, ascending."""
    first = math.floor(math.log10(bandwidth_bps))
    last = math.ceil(math.log10(FASTEST_BPS))
    found = [step * 10.0**power for power in range(first, last + 1) for step in _STEPS]
    return [bps for bps in found if bandwidth_bps < bps <= FASTEST_BPS]


def _pays_at(table: CutTable, bandwidth_bps: float) -> bool:
    """Whether some cut beats both baselines over a link of another bandwidth.

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
    """Whether a cut that one tensor crosses beats both baselines with fewer bytes there."""
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
