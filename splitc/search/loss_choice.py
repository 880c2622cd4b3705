# SPDX-License-Identifier: Apache-2.0
"""Where to cut, and what to have trained for, when packets are lost and time is short.

Later cuts bear more losses and earlier ones leave the device sooner; a network trained for
losses needs no retransmission, one that was not is better when everything arrives. Given what
each trained network reaches at each loss rate, the best within a latency is one of a few.

References:
    Itahara, Nishio, Yamamoto, "Packet-Loss-Tolerant Split Inference", GLOBECOM 2021,
    arXiv:2104.13629: section V names the joint choice as future work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Unpack

import numpy as np

from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.model import Model
from splitc.link.link import Link
from splitc.link.loss_latency import Transfer
from splitc.search.find import find_cuts
from splitc.search.scenario import Conditions, Scenario, scenario_of


@dataclass(frozen=True)
class Trained:
    """A network trained for lost packets at one cut, and how well it does.

    Args:
        cut: The head's last layers, with commas between.
        dropout_rate: r, as a name: what it was trained with.
        accuracy: By loss rate p, in percent or shares, without retransmission; p = 0 among them.

    Raises:
        UsageError: There is no accuracy at p = 0, or a rate is outside [0, 1).
    """

    cut: str
    dropout_rate: str
    accuracy: Mapping[float, float]

    def __post_init__(self) -> None:
        if 0.0 not in self.accuracy or not all(0 <= rate < 1 for rate in self.accuracy):
            why = "rates are in [0, 1), and 0 is one of them"
            raise UsageError(f"accuracies of '{self.cut}' at impossible loss rates", why=why)

    def at(self, loss_rate: float) -> float:
        """The accuracy at a loss rate, linear between those that were measured.

        Raises:
            UsageError: The rate is above all that were measured.
        """
        rates = sorted(self.accuracy)
        if not 0 <= loss_rate <= rates[-1]:
            why = f"'{self.cut}' was measured up to {rates[-1]:g}"
            raise UsageError(f"no accuracy is known at a loss rate of {loss_rate:g}", why=why)
        return float(np.interp(loss_rate, rates, [self.accuracy[rate] for rate in rates]))


@dataclass(frozen=True)
class Choice:
    """A trained network, and whether its lost packets are sent again.

    Args:
        trained: Cut and dropout rate.
        resends: Whether lost packets are sent again until all arrived.
        latency_s: Seconds from input to result: always the same without retransmission, else
            those that the given share of all inferences keep.
        accuracy: What it reaches at the link's loss rate.
    """

    trained: Trained
    resends: bool
    latency_s: float
    accuracy: float


def choices(
    model: Model | LayerGraph,
    trained: Sequence[Trained],
    *,
    scenario: Scenario | None = None,
    share: float = 0.99,
    **conditions: Unpack[Conditions],
) -> tuple[Choice, ...]:
    """Every trained network with and without retransmission, the most accurate first.

    Args:
        model: The network without channels, as it runs.
        trained: What was trained and tested.
        scenario: Where they run, over a link with its loss rate; results come back without loss.
        share: Of the inferences that keep the latency where packets are sent again.
        conditions: The scenario as keywords: `head`, `tail`, `link` and so on.

    Raises:
        UsageError: An unknown layer, a share outside (0, 1), a rate that was not measured.
        IllegalCutError: A cut is none.
    """
    given = scenario_of(scenario, conditions)
    link = given.link
    calm = Link(link.bandwidth_bps, rtt=link.rtt_s, mtu=link.mtu_bytes)
    table = find_cuts(model, scenario=replace(given, link=calm))
    found: list[Choice] = []
    for one in trained:
        row = table.row(Cut.named(table.costs.graph, one.cut))
        once_s = row.cost.latency_s
        sent = Transfer.over(link, row.cost.boundary_bytes)
        again_s = once_s + sent.repeated_quantile_s(share) - sent.unrepeated_s
        found += [
            Choice(one, False, once_s, one.at(link.loss_rate)),
            Choice(one, True, again_s, one.at(0.0)),
        ]
    return tuple(sorted(found, key=lambda choice: (-choice.accuracy, choice.latency_s)))


def best_within(found: Sequence[Choice], limit_s: float) -> Choice:
    """The most accurate choice within a latency limit, of equals the quickest.

    Args:
        found: What `choices` gives.
        limit_s: Seconds from input to result.

    Raises:
        NoLegalCutError: None is quick enough.
    """
    within = [choice for choice in found if choice.latency_s <= limit_s]
    if not within:
        quickest = min(found, key=lambda choice: choice.latency_s, default=None)
        why = (
            "nothing was trained"
            if quickest is None
            else f"the quickest, after '{quickest.trained.cut}', takes "
            f"{quickest.latency_s * 1e3:.1f} ms"
        )
        raise NoLegalCutError(f"no cut keeps {limit_s * 1e3:g} ms", why=why)
    return max(within, key=lambda choice: (choice.accuracy, -choice.latency_s))
