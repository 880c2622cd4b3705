# SPDX-License-Identifier: Apache-2.0
"""Cut, dropout rate, bits, packet size and parity chosen together under a latency limit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import splitc
from splitc import Link
from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.text import parse_graph
from splitc.link.link import HEADER_BYTES
from splitc.link.loss_latency import Transfer
from splitc.search.loss_choice import KNOBS, Choice, LossPlan, frontier, plan_for_loss
from splitc.search.tested import Trained
from tests.search.lossy import GRAPH, TESTED

DATAGRAM_BYTES = 20 + 8 + 32
"""Of a packet beside its values: IPv4, UDP, the header of docs/wire.md."""

LINK = Link("9Mbit", rtt="4ms", loss=0.2, mtu=1500)


def plan(
    within: float, *, tested: tuple[Trained, ...] = TESTED, link: Link = LINK, share: float = 0.99,
    parities: tuple[int, ...] = (0, 10, 25, 50, 100), resends: bool = True,
    mtus: tuple[int, ...] | None = None,
) -> LossPlan:  # fmt: skip
    return plan_for_loss(
        GRAPH, tested, within=within, share=share, parities=parities, resends=resends, mtus=mtus,
        head="rpi4", tail="host", link=link,
    )  # fmt: skip


def best_of_all(choices: tuple[Choice, ...], limit_s: float) -> Choice:
    """The winner by looking at every one."""
    quick = [choice for choice in choices if choice.latency_s <= limit_s]
    return min(quick, key=lambda choice: (-choice.accuracy, *choice.order))


@pytest.mark.parametrize("loss", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("limit_ms", [13, 20, 45, 70, 150])
def test_the_winner_is_the_best_of_all_combinations(loss: float, limit_ms: float) -> None:
    found = plan(limit_ms / 1e3, link=Link("9Mbit", rtt="4ms", loss=loss))
    best = best_of_all(found.choices, found.within_s)
    assert (found.winner.accuracy, *found.winner.order) == (best.accuracy, *best.order)
    assert found.winner.within(found.within_s) >= found.share


def test_the_frontier_is_what_no_other_combination_beats() -> None:
    found = plan(0.1)
    beaten = [
        one for one in found.choices
        if any(other.accuracy >= one.accuracy and other.order < one.order
               for other in found.choices)
        or any(other.accuracy > one.accuracy and other.order == one.order
               for other in found.choices)
    ]  # fmt: skip
    kept = {id(choice) for choice in found.frontier}
    assert {(c.accuracy, *c.order) for c in found.choices if c not in beaten} == {
        (c.accuracy, *c.order) for c in found.frontier
    }
    assert not kept & {id(choice) for choice in beaten}
    assert len(found.frontier) > 3


def test_what_cannot_be_on_the_frontier_is_not_computed() -> None:
    found = plan(0.1)
    assert found.frontier
    computed = sum("accuracy" in vars(choice) for choice in found.choices)
    assert computed < len(found.choices) / 2


def test_no_knob_alone_reaches_what_all_together_do() -> None:
    found = plan(0.03)
    assert found.default is not None
    alone = [found.alone(knob) for knob in KNOBS]
    reached = [choice.accuracy for choice in alone if choice is not None]
    assert reached, "some knob alone keeps the limit"
    assert max(reached) < found.winner.accuracy - 0.5
    for place, choice in enumerate(alone):
        near = [
            one for one in found.choices
            if one.latency_s <= found.within_s
            and all(i == place or one.knobs[i] == found.default.knobs[i]
                    for i in range(len(KNOBS)))
        ]  # fmt: skip
        assert (choice is None) == (not near)
        if choice is not None:
            assert choice.accuracy == max(one.accuracy for one in near)


def test_the_times_are_the_cut_tables() -> None:
    calm = Link("9Mbit", rtt="4ms")
    rows = splitc.find_cuts(GRAPH, head="rpi4", tail="host", link=calm).rows
    found = plan(0.1, parities=(0,), resends=False, mtus=(1500,), link=calm)
    for choice in found.choices:
        if choice.trained.bits != 32:
            continue
        cost = next(row.cost for row in rows if row.cut.name == choice.trained.cut)
        assert (choice.head_s, choice.tail_s) == (cost.head_s, cost.tail_s)
        packets = choice.crossing.packets
        sent = cost.boundary_bytes + packets * DATAGRAM_BYTES
        back = 40 + DATAGRAM_BYTES
        link_s = (sent + back) * 8 / 9e6 + 0.004
        assert choice.latency_s == pytest.approx(cost.head_s + cost.tail_s + link_s)
        assert cost.link_s == pytest.approx(link_s, rel=0.15), "there the last packet is full"


def test_what_makes_levels_takes_time_and_saves_bytes() -> None:
    found = plan(0.1, parities=(0,), resends=False, mtus=(1500,))
    by_bits = {choice.trained.bits: choice for choice in found.choices
               if (choice.trained.cut, choice.trained.dropout_rate) == ("a", "0")}  # fmt: skip
    assert by_bits[4].head_s > by_bits[8].head_s > by_bits[32].head_s
    sent = {bits: sum(choice.crossing.packet_bytes) - 60 * choice.crossing.packets
            for bits, choice in by_bits.items()}  # fmt: skip
    assert sent == {32: 65536 * 4, 8: 65536, 4: 32768}


def test_sending_again_takes_what_the_paper_says() -> None:
    link = Link("9Mbit", loss=0.2, mtu=1500)
    found = plan_for_loss(GRAPH, TESTED, within=1.0, head="rpi4", tail="host", link=link,
                          grace=0, mtus=(1500,), parities=(0,))  # fmt: skip
    for choice in found.choices:
        if not choice.sending.resends:
            continue
        crossing = choice.crossing
        paper = Transfer(crossing.packets, crossing.packet_bytes[0] * 8 / 9e6, 0.2)
        more = paper.repeated_quantile_s(0.99) - paper.unrepeated_s
        once_s = choice.head_s + choice.tail_s + choice.back_s + crossing.once_s
        assert choice.latency_s - once_s == pytest.approx(more, abs=1.01 * paper.packet_s)
        assert choice.accuracy == choice.trained.accuracy[0.0]
        assert choice.within(choice.latency_s) >= 0.99


def test_accuracy_is_expected_over_what_is_missing_and_not_at_its_mean() -> None:
    cliff = Trained("b", "0", {0.0: 90.0, 0.2: 90.0, 0.4: 50.0, 0.8: 10.0}, 4)
    found = plan(1.0, tested=(cliff,), parities=(0, 50), resends=False, share=0.9)
    rng = np.random.default_rng(0)
    for choice in found.choices:
        crossing = choice.crossing
        of_packet = np.bincount(crossing.elements.packet_of_element())
        came = rng.random((20_000, crossing.packets + crossing.blocks)) >= 0.2
        lost = ~came[:, : crossing.packets]
        for chunks, blocks in crossing.groups:
            inside = came[:, list(chunks) + [crossing.packets + block for block in blocks]]
            healed = inside.sum(1) >= len(chunks)
            if len(blocks):
                lost[np.ix_(healed, list(chunks))] = False
        shares = lost @ of_packet / of_packet.sum()
        # All lost is beyond what was measured: wrong.
        reached = np.where(shares <= 0.8, [cliff.at(min(one, 0.8)) for one in shares], 0.0)
        error = 4 * reached.std() / math.sqrt(len(reached)) + 1e-6
        assert choice.accuracy == pytest.approx(reached.mean(), abs=error)
    plain = next(c for c in found.choices if c.sending.mtu == 1500 and not c.crossing.blocks)
    assert plain.accuracy < cliff.at(plain.crossing.missing.mean) - 1


def test_more_time_and_less_certainty_never_cost_accuracy() -> None:
    times = sorted({choice.latency_s for choice in plan(1.0).choices})[::9]
    reached = [plan(limit).winner.accuracy for limit in times]
    assert reached == sorted(reached)
    shares = [plan(0.085, share=share).winner.accuracy for share in (0.5, 0.9, 0.99, 0.9999)]
    assert shares == sorted(shares, reverse=True)


curves = st.lists(st.floats(0, 100, width=16), min_size=4, max_size=4)


@given(curves=st.lists(curves, min_size=1, max_size=4), limit=st.floats(0.008, 0.2))
@settings(max_examples=25, deadline=None)
def test_pruning_loses_nothing(curves: list[list[float]], limit: float) -> None:
    tested = tuple(
        Trained("ab"[i % 2], str(i), dict(zip((0.0, 0.2, 0.5, 0.9), curve, strict=True)),
                (32, 8, 4)[i % 3])
        for i, curve in enumerate(curves)
    )  # fmt: skip
    found = plan(limit, tested=tested, parities=(0, 25), mtus=(600, 1500))
    quick = [choice for choice in found.choices if choice.latency_s <= limit]
    if not quick:
        with pytest.raises(NoLegalCutError, match="the quickest, after"):
            _ = found.winner
        return
    best = best_of_all(found.choices, limit)
    assert (found.winner.accuracy, *found.winner.order) == (best.accuracy, *best.order)
    assert frontier(found.choices[::-1]) == found.frontier


def test_a_packet_size_of_the_paper_can_be_planned_for() -> None:
    small = Link("9Mbit", loss=0.2, mtu=500 + 96)
    found = plan(0.1, link=small, parities=(0,), resends=False)
    assert {choice.sending.mtu for choice in found.choices} == {576, 596}
    packets = {c.crossing.packets for c in found.choices if c.sending.mtu == 596}
    assert max(packets) == -(-65536 * 4 // 500)
    assert HEADER_BYTES < DATAGRAM_BYTES


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(NoLegalCutError, match=r"no cut keeps 0.001 ms\n.*the quickest, after"):
        _ = plan(1e-6).winner
    with pytest.raises(NoLegalCutError, match="nothing was tested"):
        plan(1.0, tested=())
    lossy = Link("9Mbit", loss=0.89)
    with pytest.raises(NoLegalCutError, match=r"can be used\n.*of no 99.9999 % of all frames"):
        plan(1.0, link=lossy, parities=(0,), mtus=(1500,), tested=TESTED[-1:], share=0.999999)
    with pytest.raises(UsageError, match="no layer 'c'"):
        plan(1.0, tested=(Trained("c", "0", {0.0: 1.0, 0.9: 1.0}),))
    with pytest.raises(UsageError, match=r"share 1 is not in \(0, 1\)"):
        plan(1.0, share=1.0)
    with pytest.raises(UsageError, match=r"loss rate of 0.95\n.*measured up to 0.9"):
        plan(1.0, link=Link("9Mbit", loss=0.95))
    with pytest.raises(UsageError, match=r"packets of 9000 bytes\n.*the link takes 1500"):
        plan(1.0, mtus=(9000,))
    with pytest.raises(UsageError, match="no way to send"):
        plan(1.0, parities=(), resends=False)
    with pytest.raises(UsageError, match=r"a codec was given\n.*bits"):
        plan_for_loss(GRAPH, TESTED, within="1s", codec="quantize-boundary(bits=4)")
    both = parse_graph(
        """
        %x = input() : 1x3x8x8
        %a = conv(%x) : 1x4x8x8
        %b = relu(%a) : 1x4x8x8
        %y = add(%a, %b) : 1x4x8x8
        """
    )
    with pytest.raises(UsageError, match=r"no plan for losses after .*b'(.|\n)*one float32 tensor"):
        plan_for_loss(both, (Trained("b", "0", {0.0: 1.0}),), within=1.0)
