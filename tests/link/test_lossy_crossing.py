# SPDX-License-Identifier: Apache-2.0
"""What arrives of a boundary, and when, against every pattern of losses and against drawn ones."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from splitc import Link
from splitc.errors import UsageError
from splitc.link.arrivals import DRAWS, Rounds, missing_in_bursts, rounds_until_all
from splitc.link.loss_latency import GilbertElliott, Transfer
from splitc.link.lossy_crossing import Crossing, Sending, missing
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
def test_what_is_sent_until_all_arrived_is_negative_binomial(packets: int, rate: float) -> None:
    drawn = rounds_until_all(packets, rate).left
    sends, rounds = drawn.sum(0), (drawn > 0).sum(0)
    paper = Transfer(packets, 0.0, rate).sent
    error = 5 / math.sqrt(DRAWS)
    assert sends.mean() == pytest.approx(paper.mean, abs=error * paper.sd + 1e-9)
    for share in (0.1, 0.5, 0.9, 0.99):
        count = paper.quantile(share)
        assert (sends <= count).mean() == pytest.approx(paper.at_most(count), abs=error / 2)
    for r in range(1, 12):
        chance = (1 - rate**r) ** packets
        assert (rounds <= r).mean() == pytest.approx(chance, abs=error / 2)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_the_quantile_is_the_papers_where_asking_takes_no_time(share: float) -> None:
    link = Link("9Mbit", loss=0.2)
    crossing = Crossing(link, Chunks(16250, FLOATS, 500), Sending(1500, resends=True))
    assert crossing.packets == 130
    paper = Transfer(130, 560 * 8 / 9e6, 0.2)
    assert crossing.once_s == pytest.approx(paper.unrepeated_s)
    found = crossing.quantile_s(share)
    assert found == pytest.approx(paper.repeated_quantile_s(share), abs=1.01 * paper.packet_s)
    assert crossing.within(found, share) >= share > crossing.within(found - 1e-6, share)


def test_shares_beyond_what_was_drawn_are_kept_by_no_time() -> None:
    crossing = Crossing(Link("9Mbit", loss=0.2), Chunks(900, FLOATS, 400), Sending(resends=True))
    assert math.isfinite(crossing.quantile_s(0.999))
    assert crossing.quantile_s(0.9999) == math.inf


def test_after_a_round_that_brings_nothing_the_server_waits_longer() -> None:
    left = np.array([[3, 3, 3], [1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]], np.uint16)
    came = Rounds(left).seconds(packet_s=0.001, turn_s=0.004, grace_s=0.005)
    # Asked at 8 ms, at 18 (twice 5 later) and at 38 (four times 5 later).
    np.testing.assert_allclose(came, [0.038 + 0.005, 0.008 + 0.005, 0.003])
    quick = Rounds(left).seconds(packet_s=0.001, turn_s=0.004, grace_s=0.0)
    np.testing.assert_allclose(quick, [0.003 + 3 * 0.005, 0.003 + 0.005, 0.003])


@pytest.mark.parametrize("burst", [None, GilbertElliott(0.4, 4.0)])
def test_a_frame_that_lost_its_first_packets_is_waited_for_longer(
    burst: GilbertElliott | None,
) -> None:
    link = Link("9Mbit", rtt="4ms", loss=0.4)
    crossing = Crossing(link, Chunks(2000, FLOATS, 400), Sending(), burst=burst)
    rng, first = np.random.default_rng(0), list[int]()
    for _ in range(40_000):
        losing, place = rng.random() < 0.4, 0
        while losing:
            place += 1
            draw = rng.random()
            losing = draw < 0.4 if burst is None else draw >= burst.ends
        first.append(place)
    late = np.array(first)
    for share in (0.5, 0.9, 0.99):
        most = crossing.late_start(share)
        assert (late <= most).mean() >= share - 0.002
        assert most == 0 or (late <= most - 1).mean() < share + 0.002
        limit = crossing.quantile_s(share)
        assert limit == pytest.approx(crossing.once_s + most * 460 * 8 / 9e6)
        assert crossing.within(limit, share) >= share
        assert crossing.within(limit - 1e-6, share) == 0
        # From the first packet, however late it comes within the share, to the limit.
        start = (1 + most) * 460 * 8 / 9e6 + 0.002
        assert crossing.deadline_s(limit, share) == pytest.approx(limit - start)
    few = Crossing(link, Chunks(300, FLOATS, 400), Sending(), burst=burst)
    assert few.packets == 3 and few.quantile_s(0.99) == math.inf, "of many frames nothing comes"
    assert few.within(1.0, 0.99) == 0
    whole = Crossing(link, crossing.elements, Sending(parity_percent=100), burst=burst)
    assert whole.late_start(0.5) == 0, "frames that are complete wait for nothing"


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


def test_rounds_in_bursts_of_independent_losses_are_those_of_independent_losses() -> None:
    drawn, plain = (
        rounds_until_all(60, 0.3, GilbertElliott(0.3, 1 / 0.7)),
        rounds_until_all(60, 0.3),
    )
    assert drawn.left.sum(0).mean() == pytest.approx(plain.left.sum(0).mean(), rel=0.01)
    assert len(drawn.left) == pytest.approx(len(plain.left), abs=6)


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
    with pytest.raises(UsageError, match="over 1000 rounds"):
        rounds_until_all(600, 0.9999)
    crossing = Crossing(Link("1Mbit"), Chunks(10, FLOATS, 40), Sending())
    with pytest.raises(UsageError, match=r"quantile 1 is not in \(0, 1\)"):
        crossing.quantile_s(1.0)
