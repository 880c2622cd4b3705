# SPDX-License-Identifier: Apache-2.0
"""The pass `find-min-cut`: choose the cheapest cut and write it into the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

from splitc.errors import PassError
from splitc.ir.model import Model
from splitc.link.link import Link
from splitc.passes.base import Pass
from splitc.search.scenario import Scenario
from splitc_passes.cutters.min_cut import MinCut

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class FindMinCut(Pass):
    """Choose the cut with the lowest latency or energy over all downsets.

    Rewrite::

        model without a cut  ->  the same model, cut = the cheapest downset

    Layers, tensors and weights are unchanged; the head may end in several
    tensors. `splitc_passes.cutters.min_cut.MinCut` says how it is found.

    Args:
        head: Board of the device.
        tail: Board of the server.
        bandwidth: Of the link, such as `20Mbit`.
        rtt: Round-trip time, such as `5ms`.
        loss_rate: Fraction of packets lost, in [0, 1).
        objective: `latency` or `energy`.

    Raises:
        NoLegalCutError: No proper cut has a boundary that can cross a link.

    References:
        Hu et al., "Dynamic Adaptive DNN Surgery for Inference Acceleration on
        the Edge", INFOCOM 2019.
    """

    name: ClassVar[str] = "find-min-cut"

    head: str = "rpi4"
    tail: str = "x86-64-v3"
    bandwidth: str = "18.88Mbit"
    rtt: str = "5ms"
    loss_rate: float = 0.0
    objective: Literal["latency", "energy"] = "latency"

    def apply(self, model: M) -> M:
        """The model with its cut set."""
        link = Link(self.bandwidth, rtt=self.rtt, loss=self.loss_rate)
        scenario = Scenario.of(head=self.head, tail=self.tail, link=link, objective=self.objective)
        found = MinCut().solve(scenario.problem(model.graph))
        return model.with_cut(found.where.cut)

    def ensures(self, before: Model, after: Model) -> None:
        """The cut is proper, and its boundary can be sent."""
        reason = "no cut was set" if after.cut is None else after.cut.why_not()
        if reason is not None:
            raise PassError("the chosen cut cannot be used", why=reason)
