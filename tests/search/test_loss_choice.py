# SPDX-License-Identifier: Apache-2.0
"""Cut and dropout rate chosen together under a latency limit."""

from __future__ import annotations

import pytest

import splitc
from splitc import Link
from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.text import parse_graph
from splitc.link.loss_latency import Transfer
from splitc.search.loss_choice import Trained, best_within, choices

GRAPH = parse_graph(
    """
    %x = input() : 1x3x32x32
    %a = conv(%x) : 1x64x32x32
    %b = conv(%a) : 1x64x8x8
    %y = softmax(%b) : 1x10
    """
)
TRAINED = (
    Trained("a", "0", {0.0: 92.0, 0.2: 80.0, 0.6: 30.0}),
    Trained("a", "0.4", {0.0: 90.0, 0.2: 89.0, 0.6: 80.0}),
    Trained("b", "0", {0.0: 92.0, 0.2: 91.0, 0.6: 86.0}),
    Trained("b", "0.4", {0.0: 91.5, 0.2: 91.2, 0.6: 90.0}),
)


def link(loss: float) -> Link:
    return Link("9Mbit", rtt="4ms", loss=loss, mtu=540)


def test_the_latency_is_the_cut_tables_with_and_without_retransmission() -> None:
    lossy = link(0.2)
    rows = splitc.find_cuts(GRAPH, head="rpi4", tail="host", link=link(0.0))
    found = choices(GRAPH, TRAINED, head="rpi4", tail="host", link=lossy)
    assert len(found) == 2 * len(TRAINED)
    for choice in found:
        cost = next(r.cost for r in rows.rows if r.cut.name == choice.trained.cut)
        if choice.resends:
            sent = Transfer.over(lossy, cost.boundary_bytes)
            more = sent.repeated_quantile_s(0.99) - sent.unrepeated_s
            assert choice.latency_s == pytest.approx(cost.latency_s + more)
            assert choice.accuracy == choice.trained.accuracy[0.0]
        else:
            assert choice.latency_s == pytest.approx(cost.latency_s)
            assert choice.accuracy == choice.trained.accuracy[0.2]


@pytest.mark.parametrize("loss", [0.0, 0.2, 0.3, 0.6])
def test_the_choice_is_the_best_of_all_that_are_quick_enough(loss: float) -> None:
    found = choices(GRAPH, TRAINED, head="rpi4", tail="host", link=link(loss))
    limits = sorted({choice.latency_s for choice in found})
    reached = [best_within(found, limit).accuracy for limit in limits]
    assert reached == sorted(reached), "more time never costs accuracy"
    for limit, accuracy in zip(limits, reached, strict=True):
        assert accuracy == max(c.accuracy for c in found if c.latency_s <= limit)


def test_a_trained_network_wins_where_there_is_no_time_to_send_again() -> None:
    found = choices(GRAPH, TRAINED, head="rpi4", tail="host", link=link(0.6))
    once = min(c.latency_s for c in found if c.trained.cut == "b" and not c.resends)
    short = best_within(found, once * 1.01)
    assert (short.trained.cut, short.trained.dropout_rate, short.resends) == ("b", "0.4", False)
    ample = best_within(found, 1e3)
    assert (ample.trained.dropout_rate, ample.resends, ample.accuracy) == ("0", True, 92.0)


def test_between_measured_rates_accuracy_is_linear() -> None:
    assert TRAINED[0].at(0.1) == pytest.approx(86.0)
    assert TRAINED[0].at(0.4) == pytest.approx(55.0)
    with pytest.raises(UsageError, match=r"loss rate of 0.7\n.*measured up to 0.6"):
        TRAINED[0].at(0.7)


def test_what_cannot_be_is_refused() -> None:
    found = choices(GRAPH, TRAINED, head="rpi4", tail="host", link=link(0.2))
    with pytest.raises(NoLegalCutError, match=r"no cut keeps 0.001 ms\n.*the quickest, after"):
        best_within(found, 1e-6)
    with pytest.raises(NoLegalCutError, match="nothing was trained"):
        best_within((), 1.0)
    with pytest.raises(UsageError, match="impossible loss rates"):
        Trained("a", "0", {0.1: 90.0})
    with pytest.raises(UsageError, match="no layer 'c'"):
        choices(GRAPH, [Trained("c", "0", {0.0: 1.0})], head="rpi4", tail="host", link=link(0.0))
