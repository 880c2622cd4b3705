# SPDX-License-Identifier: Apache-2.0
"""Cut, dropout rate, bits, packet size and parity chosen together when packets are lost.

Later cuts bear more losses and earlier ones leave the device sooner; fewer bits make room for
parity packets, or for an earlier cut; a network trained for losses needs neither; one that was not
is best when everything arrives. Given what each trained network reaches, the most accurate of all
combinations that keep a latency limit is found by trying them all.

References:
    Itahara, Nishio, Yamamoto, "Packet-Loss-Tolerant Split Inference", GLOBECOM 2021,
    arXiv:2104.13629: section V names the joint choice as future work.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Unpack

from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.model import Model
from splitc.link.link import Link, parse_seconds
from splitc.link.loss_latency import GilbertElliott
from splitc.link.lossy_crossing import Crossing, Sending
from splitc.link.packets import Chunks, packet_count, payload_bytes, unit_of
from splitc.passes.at_cut import codec_of, without_channels
from splitc.search.scenario import Conditions, Scenario, scenario_of
from splitc.search.tested import WHOLE_BITS, Trained

KNOBS = ("cut", "dropout rate", "bits", "packet size", "parity", "retransmission")
"""What is chosen together."""
PARITIES = (0, 10, 25, 50, 75, 100)
"""Percent of parity that is tried unless others are named."""
SMALL_MTUS = (576, 1024)
"""Packet sizes that are tried beside the link's own: the least that every host takes, and one
between."""
SHORT_GRACE_S = 0.005
"""How long what is missing is waited for, at least, unless it is said."""
UNTRAINED = "0"
"""The dropout rate of a network that was left as it was."""


@dataclass(frozen=True)
class Choice:
    """One combination: a trained network and how its boundary is sent.

    Args:
        trained: Cut, dropout rate, bits.
        crossing: Its boundary on its way.
        head_s: The head on the device, with what makes levels.
        tail_s: The tail on the server, with what restores values.
        results_bytes: What comes back, over a way that loses nothing; None where results are
            wanted at the server.
        share: Of the inferences that keep the latency where packets are sent again.
    """

    trained: Trained
    crossing: Crossing
    head_s: float
    tail_s: float
    results_bytes: int | None
    share: float = 0.99

    @property
    def sending(self) -> Sending:
        """Packet size, parity, whether lost packets go again."""
        return self.crossing.sending

    @property
    def knobs(self) -> tuple[str, str, int, int, int, bool]:
        """What is chosen, in the order of `KNOBS`."""
        how, net = self.sending, self.trained
        return net.cut, net.dropout_rate, net.bits, how.mtu, how.parity_percent, how.resends

    @cached_property
    def latency_s(self) -> float:
        """Seconds from input to result: always the same where packets go once, else those that
        `share` of all inferences keep."""
        return self._elsewhere_s + self.crossing.quantile_s(self.share)

    @property
    def back_s(self) -> float:
        """Seconds that the results are on their way to where they are wanted."""
        return 0.0 if self.results_bytes is None else self._answer_s(self.results_bytes)

    @property
    def heard_s(self) -> float:
        """Seconds from the results being where they are wanted to the device's knowing of it."""
        return self._answer_s(0) if self.results_bytes is None else 0.0

    def _answer_s(self, nbytes: int) -> float:
        crossing, link = self.crossing, self.crossing.link
        packets = max(1, packet_count(nbytes, crossing.elements.payload_bytes))
        sent = nbytes + packets * crossing.header_bytes
        return sent * 8 / link.bandwidth_bps + link.rtt_s / 2

    @property
    def _elsewhere_s(self) -> float:
        return self.head_s + self.tail_s + self.back_s

    def within(self, limit_s: float) -> float:
        """P(latency <= limit), at least."""
        return self.crossing.within(limit_s - self._elsewhere_s, self.share)

    def deadline_s(self, limit_s: float) -> float:
        """How long after a frame's first packet the tail may wait within a limit, in seconds."""
        return self.crossing.deadline_s(limit_s - self._elsewhere_s, self.share)

    @cached_property
    def accuracy(self) -> float:
        """Expected over what is missing; differences below a millionth are none."""
        return round(self.trained.expected(self.crossing.missing), 6)

    @cached_property
    def most(self) -> float:
        """What the accuracy cannot exceed: the network's best, whatever is missing."""
        return round(max(self.trained.accuracy.values()), 6)

    @property
    def order(self) -> tuple[float, int]:
        """Of equally accurate ones the first is taken: the quicker, then that of fewer bytes."""
        return self.latency_s, self.crossing.nbytes


@dataclass(frozen=True)
class LossPlan:
    """What was chosen for a latency limit, and what it is held against.

    Args:
        choices: Every combination that a share of all inferences ends by some time, the
            quickest first.
        within_s: The limit of the latency.
        share: Of the inferences that must keep it.
        link: Over which.
        figures: Where the times come from.
    """

    choices: tuple[Choice, ...]
    within_s: float
    share: float
    link: Link
    figures: str

    @cached_property
    def frontier(self) -> tuple[Choice, ...]:
        """The combinations that none beats in accuracy without taking longer, quickest first."""
        return frontier(self.choices)

    @cached_property
    def winner(self) -> Choice:
        """The most accurate within the limit, of equals the quickest, then that of fewest bytes.

        Raises:
            NoLegalCutError: None is quick enough.
        """
        within = [choice for choice in self.frontier if choice.latency_s <= self.within_s]
        if not within:
            first = self.choices[0]
            why = f"the quickest, after '{first.trained.cut}', takes {first.latency_s * 1e3:.1f} ms"
            raise NoLegalCutError(f"no cut keeps {self.within_s * 1e3:g} ms", why=why)
        return within[-1]

    @cached_property
    def default(self) -> Choice | None:
        """The quickest cut with a network left as it was, in float32, sent once in the link's
        packets; None where no such network was tested."""
        plain = (UNTRAINED, WHOLE_BITS, self.link.mtu_bytes, 0, False)
        return next((choice for choice in self.choices if choice.knobs[1:] == plain), None)

    def alone(self, knob: str) -> Choice | None:
        """The best within the limit of those that differ from `default` in one knob at most.

        Args:
            knob: One of `KNOBS`.
        """
        if self.default is None:
            return None
        place, plain = KNOBS.index(knob), self.default.knobs
        near = [
            choice for choice in self.choices
            if choice.latency_s <= self.within_s
            and all(a == b for i, (a, b) in enumerate(zip(choice.knobs, plain, strict=True))
                    if i != place)
        ]  # fmt: skip
        best = frontier(near)
        return best[-1] if best else None


def frontier(choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """Those that none beats in accuracy without taking longer, the quickest first.

    Exact: of a choice that cannot be more accurate than a quicker one, the accuracy is not even
    computed.

    Args:
        choices: In any order.
    """
    best, kept = -math.inf, list[Choice]()
    for choice in sorted(choices, key=lambda choice: choice.order):
        if choice.most > best and choice.accuracy > best:
            best = choice.accuracy
            if kept and kept[-1].order == choice.order:
                kept.pop()
            kept.append(choice)
    return tuple(kept)


def plan_for_loss(
    model: Model | LayerGraph,
    tested: Sequence[Trained],
    *,
    within: str | float,
    share: float = 0.99,
    mtus: Sequence[int] | None = None,
    parities: Sequence[int] = PARITIES,
    resends: bool = True,
    grace: str | float | None = None,
    sealed: bool = False,
    mean_burst: float | None = None,
    scenario: Scenario | None = None,
    **conditions: Unpack[Conditions],
) -> LossPlan:
    """Choose cut, dropout rate, bits, packet size and parity together.

    Maximises the accuracy subject to P(latency <= within) >= share. Packets are splitc's own,
    headers and all; losses are at the link's rate; results come back without loss.

    Args:
        model: The network without channels, as it runs.
        tested: What was trained and tested.
        within: The limit of the latency from input to result, like `60ms` or in seconds.
        share: Of the inferences that must keep it, in (0, 1).
        mtus: Bytes of packets to try; None for the link's own and smaller ones.
        parities: Percent of parity packets to try; 0 is none.
        resends: Also try to send what is lost again until all is there.
        grace: How long after the last packet what is missing is asked for; None for 5 ms, or
            the round trip where that is longer, so that nothing is asked for twice.
        sealed: Packets are sealed with a key.
        mean_burst: Packets that are lost one after another, on average; None for independent
            losses. What bursts leave is drawn, and as exact as 20,000 boundaries make it.
        scenario: Where they run, and the link with its loss rate.
        conditions: The scenario as keywords: `head`, `tail`, `link` and so on.

    Raises:
        UsageError: An unknown layer, a share outside (0, 1), a loss rate or packet size that
            cannot be, or a rate that was not measured.
        NoLegalCutError: No network has a cut that can be and keeps the scenario's limits, or
            the link loses too much for the share, whatever is sent.
    """
    given = scenario_of(scenario, conditions)
    limit_s, link = parse_seconds(within), given.link
    if not limit_s > 0:
        raise UsageError(f"within {within} is not above 0")
    if not 0 < share < 1:
        raise UsageError(f"share {share:g} is not in (0, 1)")
    if given.codec is not None or given.auto is not None:
        raise UsageError("a codec was given", why="bits of what crosses are chosen here")
    ways = _ways(link, mtus, parities, resends)
    found: list[Choice] = []
    refused = "nothing was tested"
    burst = None if mean_burst is None else GilbertElliott(link.loss_rate, mean_burst)
    grace_s = max(SHORT_GRACE_S, link.rtt_s) if grace is None else parse_seconds(grace)
    networks = _Networks(model, given, grace_s, sealed, burst)
    for one in tested:
        one.check(link.loss_rate)
        why = networks.why_not(one)
        refused = why or refused
        if why is None:
            tried = (networks.choice(one, how, share) for how in ways)
            found += (choice for choice in tried if choice.latency_s < math.inf)
            refused = f"of no {100 * share:g} % of all frames anything arrives"
    if not found:
        raise NoLegalCutError("none of the networks can be used", why=refused)
    found.sort(key=lambda choice: (choice.order, choice.knobs))
    return LossPlan(tuple(found), limit_s, share, link, networks.figures)


def _ways(
    link: Link, mtus: Sequence[int] | None, parities: Sequence[int], resends: bool
) -> tuple[Sending, ...]:
    """The ways to send that are tried."""
    if mtus is None:
        mtus = [*(size for size in SMALL_MTUS if size < link.mtu_bytes), link.mtu_bytes]
    large = next((size for size in mtus if size > link.mtu_bytes), None)
    if large is not None:
        raise UsageError(f"packets of {large} bytes", why=f"the link takes {link.mtu_bytes}")
    once = itertools.product(dict.fromkeys(mtus), dict.fromkeys(parities))
    ways = tuple(Sending(mtu, percent) for mtu, percent in once)
    again = tuple(Sending(mtu, resends=True) for mtu in dict.fromkeys(mtus)) if resends else ()
    if not ways and not again:
        raise UsageError("there is no way to send that is tried", hint="name packet sizes")
    return ways + again


class _Networks:
    """What the networks of one model cost, each cut and number of bits priced once."""

    def __init__(
        self, model: Model | LayerGraph, given: Scenario, grace_s: float, sealed: bool,
        burst: GilbertElliott | None,
    ) -> None:  # fmt: skip
        graph = model if isinstance(model, LayerGraph) else model.graph
        self._graph, _ = without_channels(graph, None)
        self._given, self._grace_s, self._sealed, self._burst = given, grace_s, sealed, burst
        self._problems = {WHOLE_BITS: given.problem(self._graph)}
        self._rows: dict[tuple[str, int], _Row] = {}

    @property
    def figures(self) -> str:
        """Where the times come from."""
        return self._problems[WHOLE_BITS].costs.label

    def why_not(self, one: Trained) -> str | None:
        """Why a network cannot be used; None where it can."""
        return self._row(one).rejected

    def choice(self, one: Trained, how: Sending, share: float) -> Choice:
        """A network with a way to send."""
        row, link = self._row(one), self._given.link
        unit = unit_of(one.bits / 8)
        packets = Chunks(row.elements, unit, payload_bytes(how.mtu))
        crossing = Crossing(link, packets, how, self._grace_s, self._sealed, self._burst)
        return Choice(one, crossing, row.head_s, row.tail_s, row.results_bytes, share)

    def _row(self, one: Trained) -> _Row:
        key = one.cut, one.bits
        if key not in self._rows:
            self._rows[key] = self._priced(one)
        return self._rows[key]

    def _priced(self, one: Trained) -> _Row:
        cut = Cut.named(self._graph, one.cut)
        crossing = cut.boundary
        if cut.why_not() is None and [tensor.dtype for tensor in crossing] != ["float32"]:
            names = ", ".join(f"{tensor.name} ({tensor.dtype})" for tensor in crossing)
            raise UsageError(
                f"no plan for losses after '{cut.name}'", at=names,
                why="networks are trained for losses where one float32 tensor crosses",
            )  # fmt: skip
        if one.bits not in self._problems:
            codec = codec_of(f"quantize-boundary(bits={one.bits})")
            self._problems[one.bits] = replace(self._given, codec=codec).problem(self._graph)
        row = self._problems[one.bits].row(cut)
        if row.rejected is not None:
            return _Row(row.cost.head_s, row.cost.tail_s, 0, 0, row.rejected)
        back = row.cost.result_bytes if self._given.results == "device" else None
        elements = math.prod(crossing[0].static_shape)
        return _Row(row.cost.head_s, row.cost.tail_s, elements, back)


@dataclass(frozen=True)
class _Row:
    head_s: float
    tail_s: float
    elements: int
    results_bytes: int | None
    rejected: str | None = None
