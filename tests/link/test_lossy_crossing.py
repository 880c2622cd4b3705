# SPDX-License-Identifier: Apache-2.0
"""What arrives of a boundary, and when, against every pattern of losses and against drawn ones."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from splitc import Link
from splitc.errors import UsageError
from splitc.link.arrivals import missing_in_bursts, rounds_in_bursts
from splitc.link.loss_latency import GilbertElliott, Transfer
from splitc.link.lossy_crossing import Crossing, Sending, missing, rounds_until_all
from splitc.link.packets import Chunks, Unit
from splitc.link.parity_groups import parity_groups

FLOATS = Unit(1, 4)


def elements_missing(elements: Chunks, percent: int, came: tuple[bool, ...]) -> int:
    """Elements that nothing gives when those of chunks and parity blocks came."""
    of_chunk = np.bincount(elements.packet_of_element(), minlength=elements.packets)
    chunks, blocks = came[: elements.packets], came[elements.packets :]
    gone = 0
    groups = parity_groups(elements.packets, percent) if percent else []
    for group in groups:
        inside = [chunks[i] for i in group.chunks] + [blocks[i] for i in group.blocks]
        if sum(inside) < len(group.chunks):
            gone += sum(int(of_chunk[i]) for i in group.chunks if not chunks[i])
    if not groups:
        gone = sum(int(size) for size, here in zip(of_chunk, chunks, strict=True) if not here)
    return gone


@pytest.mark.parametrize("percent", [0, 10, 40, 100])
@pytest.mark.parametrize("count", [30, 47, 1, 10])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.7])
def test_what_is_missing_is_that_of_every_pattern_of_losses(
    count: int, percent: int, rate: float
) -> None:
    elements = Chunks(count, FLOATS, 40)
    groups = parity_groups(elements.packets, percent) if percent else []
    packets = elements.packets + sum(len(group.blocks) for group in groups)
    truth: dict[int, float] = {}
    for came in itertools.product((True, False), repeat=packets):
        chance = math.prod(1 - rate if here else rate for here in came)
        gone = elements_missing(elements, percent, came)
        truth[gone] = truth.get(gone, 0.0) + chance
    found: dict[int, float] = {}
    shares = missing(elements, rate, percent)
    for value, chance in zip(shares.values.tolist(), shares.pmf.tolist(), strict=True):
        gone = round(value * count)
        found[gone] = found.get(gone, 0.0) + chance
    for gone in truth | found:
        assert found.get(gone, 0.0) == pytest.approx(truth.get(gone, 0.0), abs=1e-12)


def test_several_groups_of_parity_leave_what_drawn_losses_leave() -> None:
    elements, percent, rate = Chunks(2995, FLOATS, 40), 30, 0.25
    groups = parity_groups(elements.packets, percent)
    assert len(groups) == 3
    blocks = sum(len(group.blocks) for group in groups)
    draw = np.random.default_rng(0).random((4000, elements.packets + blocks)) >= rate
    gone = np.array([elements_missing(elements, percent, tuple(row.tolist())) for row in draw])
    shares = missing(elements, rate, percent)
    assert shares.pmf.sum() == pytest.approx(1.0)
    error = gone.std() / elements.count / math.sqrt(len(gone))
    assert shares.mean == pytest.approx(gone.mean() / elements.count, abs=4 * error)
    none = shares.pmf[shares.values == 0].sum()
    assert none == pytest.approx((gone == 0).mean(), abs=4 * math.sqrt(none * (1 - none) / 4000))


def test_without_parity_the_missing_packets_are_binomial() -> None:
    elements = Chunks(1320, FLOATS, 40)
    shares = missing(elements, 0.2)
    assert shares.mean == pytest.approx(0.2)
    received = Transfer(elements.packets, 0.0, 0.2).received
    lost = np.rint(shares.values * elements.packets).astype(int)
    pmf = np.bincount(lost, shares.pmf, elements.packets + 1)
    np.testing.assert_allclose(pmf[::-1], received.pmf, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4, 0.8])
@pytest.mark.parametrize("packets", [1, 7, 132])
def test_without_time_between_rounds_sending_again_is_negative_binomial(
    packets: int, rate: float
) -> None:
    found = rounds_until_all(packets, rate)
    sent = Transfer(packets, 0.0, rate).sent
    pmf = np.bincount(found.sends.astype(int), found.pmf, int(sent.values[-1]) + 1)
    np.testing.assert_allclose(pmf[sent.first : sent.first + len(sent.pmf)], sent.pmf, atol=1e-11)
    most = np.bincount(found.rounds.astype(int), found.pmf)
    r = np.arange(len(most))
    exactly = (1 - rate**r) ** packets - (1 - rate ** np.maximum(r - 1, 0)) ** packets
    np.testing.assert_allclose(most[1:], exactly[1:], atol=1e-11)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_the_quantile_is_the_papers_where_asking_takes_no_time(share: float) -> None:
    link = Link("9Mbit", loss=0.2)
    crossing = Crossing(link, Chunks(16250, FLOATS, 500), Sending(1500, resends=True))
    assert crossing.packets == 130
    paper = Transfer(130, 560 * 8 / 9e6, 0.2)
    assert crossing.once_s == pytest.approx(paper.unrepeated_s)
    assert crossing.quantile_s(share) == pytest.approx(paper.repeated_quantile_s(share))
    assert crossing.within(crossing.quantile_s(share)) >= share
    assert crossing.within(crossing.quantile_s(share) - 1e-6) < share


def test_rounds_take_as_long_as_drawn_ones() -> None:
    link = Link("9Mbit", rtt="6ms", loss=0.3)
    crossing = Crossing(link, Chunks(2500, FLOATS, 400), Sending(resends=True), grace_s=0.005)
    each = 460 * 8 / 9e6
    rng, seconds = np.random.default_rng(1), list[float]()
    for _ in range(20_000):
        left, spent = crossing.packets, 0.003
        while left:
            spent += left * each
            left = int(rng.binomial(left, 0.3))
            spent += 0.011 if left else 0.0
        seconds.append(spent)
    for share in (0.5, 0.9, 0.99):
        limit = crossing.quantile_s(share) + 1e-9
        kept = float(np.mean(np.array(seconds) <= limit))
        expected = crossing.within(limit)
        assert kept == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 2e4))


@pytest.mark.parametrize("percent", [0, 40, 100])
def test_bursts_of_independent_losses_are_independent_losses(percent: int) -> None:
    elements = Chunks(1995, FLOATS, 40)
    drawn = missing_in_bursts(elements, GilbertElliott(0.3, 1 / 0.7), percent)
    exact = missing(elements, 0.3, percent)
    sd = math.sqrt(float(np.dot(exact.pmf, (exact.values - exact.mean) ** 2)))
    assert drawn.mean == pytest.approx(exact.mean, abs=5 * sd / math.sqrt(7000) + 1e-9)
    for share in (0.0, 0.1, 0.3):
        chance = exact.pmf[exact.values <= share].sum()
        assert drawn.pmf[drawn.values <= share].sum() == pytest.approx(chance, abs=0.02)
    again = missing_in_bursts(elements, GilbertElliott(0.3, 1 / 0.7), percent)
    assert (again.values == drawn.values).all()


def test_bursts_spread_what_is_missing_as_the_model_says() -> None:
    elements, burst = Chunks(1000, FLOATS, 40), GilbertElliott(0.2, 5.0)
    drawn = missing_in_bursts(elements, burst)
    sd = math.sqrt(float(np.dot(drawn.pmf, (drawn.values - drawn.mean) ** 2)))
    assert sd == pytest.approx(burst.received_sd(100) / 100, rel=0.03)
    assert drawn.mean == pytest.approx(0.2, abs=0.005)


def test_rounds_in_bursts_of_independent_losses_are_the_exact_ones() -> None:
    drawn = rounds_in_bursts(60, GilbertElliott(0.3, 1 / 0.7))
    exact = rounds_until_all(60, 0.3)
    for column in (0, 1):
        means = [float(np.dot(case.pmf, case[column])) for case in (drawn, exact)]
        assert means[0] == pytest.approx(means[1], rel=0.01)
    assert drawn.pmf.sum() == pytest.approx(1.0)


def test_packets_have_splitcs_headers() -> None:
    link = Link("8Mbit", rtt="10ms")
    half = Unit(2, 1)
    plain = Crossing(link, Chunks(20_001, half, 1404), Sending(parity_percent=25))
    assert plain.packet_bytes == (1464,) * 7 + (10_001 - 7 * 1404 + 60,) + (1464,) * 2
    assert plain.once_s == pytest.approx(sum(plain.packet_bytes) * 1e-6 + 0.005)
    sealed = Crossing(link, plain.elements, plain.sending, sealed=True)
    assert sealed.nbytes == plain.nbytes + 10 * 16


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(UsageError, match=r"mtu 96 is no packet size"):
        Sending(96)
    with pytest.raises(UsageError, match=r"parity 101 is not in 0 to 100 percent"):
        Sending(parity_percent=101)
    with pytest.raises(UsageError, match=r"parity 5 for what is sent again\n.*not both"):
        Sending(parity_percent=5, resends=True)
    with pytest.raises(UsageError, match=r"a boundary of 65536 packets\n.*at most 65535"):
        Crossing(Link("1Mbit"), Chunks(65536, FLOATS, 4), Sending())
    with pytest.raises(UsageError, match="too many to tell"):
        rounds_until_all(60_000, 0.999)
    crossing = Crossing(Link("1Mbit"), Chunks(10, FLOATS, 40), Sending())
    with pytest.raises(UsageError, match=r"quantile 1 is not in \(0, 1\)"):
        crossing.quantile_s(1.0)
