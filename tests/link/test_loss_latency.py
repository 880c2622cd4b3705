# SPDX-License-Identifier: Apache-2.0
"""What loss costs: the published figures, exact sums, and bursts counted out."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from splitc.errors import UsageError
from splitc.link.link import HEADER_BYTES, Link
from splitc.link.loss_latency import GilbertElliott, Transfer

PUBLISHED = Transfer.over(Link("9.0Mbit", loss=0.2, mtu=500), 65_536, header_bytes=0)
"""Itahara et al.: block 1, 65.5 kB in 500-byte packets at 9.0 Mb/s, p = 0.2."""


def sent_exactly(n: int, n_t: int, p: Fraction) -> Fraction:
    return math.comb(n - 1, n_t - 1) * p ** (n - n_t) * (1 - p) ** n_t


def received_exactly(k: int, n_t: int, p: Fraction) -> Fraction:
    return math.comb(n_t, k) * (1 - p) ** k * p ** (n_t - k)


def test_the_published_figures_come_out_as_printed() -> None:
    assert PUBLISHED.packets == 132
    assert f"{PUBLISHED.packet_s * 1e3:.4f}" == "0.4444"
    assert f"{PUBLISHED.unrepeated_s * 1e3:.2f}" == "58.67"
    assert PUBLISHED.sent_once.sd == 0
    assert f"{PUBLISHED.repeated_mean_s * 1e3:.2f}" == "73.33"
    assert f"{PUBLISHED.repeated_sd_s * 1e3:.2f}" == "2.85"
    assert f"{PUBLISHED.repeated_quantile_s(0.99) * 1e3:.2f}" == "80.44"


def test_the_distribution_has_the_published_moments() -> None:
    assert f"{PUBLISHED.sent.mean * PUBLISHED.packet_s * 1e3:.2f}" == "73.33"
    assert f"{PUBLISHED.sent.sd * PUBLISHED.packet_s * 1e3:.2f}" == "2.85"


@given(
    st.integers(1, 12),
    st.fractions(min_value=0, max_value="0.95", max_denominator=60),
)
def test_both_distributions_are_the_exact_sums(n_t: int, p: Fraction) -> None:
    one = Transfer(n_t, 1e-3, float(p))
    for counts, exactly in ((one.sent, sent_exactly), (one.received, received_exactly)):
        exact = [exactly(int(n), n_t, p) for n in counts.values[:150]]
        np.testing.assert_allclose(
            counts.pmf[:150], np.array(exact, float), rtol=1e-11, atol=1e-300
        )
        sums = list(itertools.accumulate(exact))
        np.testing.assert_allclose(counts.cdf[:150], np.array(sums, float), rtol=0, atol=1e-13)


@pytest.mark.parametrize("n_t", [132, 10_000])
def test_many_packets_are_exact_too(n_t: int) -> None:
    """Whole-number arithmetic as the reference: (1 - p)^n_t alone is below any float."""
    one = Transfer(n_t, 1e-3, 0.2)
    mean, sd = n_t / 0.8, math.sqrt(n_t * 0.2) / 0.8
    for n in (int(mean + step * sd) for step in (-8, -3, -1, 0, 1, 3, 8)):
        exact = float(sent_exactly(n, n_t, Fraction(1, 5)))
        assert one.sent.pmf[n - one.sent.first] == pytest.approx(exact, rel=1e-11)
    for k in (int(0.8 * n_t) + step for step in (-20, 0, 20)):
        exact = float(received_exactly(k, n_t, Fraction(1, 5)))
        assert one.received.pmf[k] == pytest.approx(exact, rel=1e-11)


@given(st.integers(1, 20_000), st.floats(0, 0.99))
def test_moments_are_those_of_the_closed_forms(n_t: int, p: float) -> None:
    assume(p == 0 or p > 1e-9)
    one = Transfer(n_t, 1e-3, p)
    sent, received = one.sent, one.received
    assert sent.pmf.sum() == pytest.approx(1, abs=1e-12)
    assert one.seconds(sent.mean) == pytest.approx(one.repeated_mean_s, rel=1e-12)
    assert sent.sd * one.packet_s == pytest.approx(one.repeated_sd_s, rel=1e-9)
    assert received.mean == pytest.approx(n_t * (1 - p), rel=1e-12)
    assert received.sd == pytest.approx(math.sqrt(n_t * p * (1 - p)), rel=1e-9)


@given(st.integers(1, 500), st.floats(0.001, 0.9), st.floats(0.001, 0.999))
def test_a_quantile_is_the_first_number_that_suffices(n_t: int, p: float, share: float) -> None:
    for counts in (Transfer(n_t, 1e-3, p).sent, Transfer(n_t, 1e-3, p).received):
        number = counts.quantile(share)
        assert counts.at_most(number) >= share
        assert counts.at_most(number - 1) < share


def test_beyond_the_numbers_there_are_the_chance_is_nothing_or_all() -> None:
    sent = Transfer(5, 1e-3, 0.5).sent
    assert sent.at_most(4) == 0
    assert sent.at_most(5.5) == pytest.approx(0.5**5)
    assert sent.at_most(10_000) == pytest.approx(1)


def test_a_link_gives_its_packets_headers_and_delay() -> None:
    link = Link("20Mbit", rtt="30ms", loss=0.1, mtu=1000)
    one = Transfer.over(link, 10_000)
    packets = math.ceil(10_000 / (1000 - HEADER_BYTES))
    assert one.packets == packets
    assert one.unrepeated_s == pytest.approx(packets * 1000 * 8 / 20e6 + 0.015)
    assert one.repeated_mean_s == pytest.approx(link.transfer_s(10_000) + 0.015)
    assert one.repeated_quantile_s(0.5) == pytest.approx(
        one.sent.quantile(0.5) * 1000 * 8 / 20e6 + 0.015
    )


@pytest.mark.parametrize(("rate", "burst"), [(0.2, 4.0), (0.6, 1.5), (0.5, 1.2), (0.3, 1 / 0.7)])
def test_bursts_lose_the_rate_and_spread_as_counted_out(rate: float, burst: float) -> None:
    """Against the chances of all sequences of seven packets, one by one."""
    chain = GilbertElliott(rate, burst)
    chances: dict[int, float] = {}
    lost_share = 0.0
    for packets in itertools.product((0, 1), repeat=7):
        chance = rate if packets[0] else 1 - rate
        for before, after in itertools.pairwise(packets):
            lost = 1 - chain.ends if before else chain.begins
            chance *= lost if after else 1 - lost
        chances[7 - sum(packets)] = chances.get(7 - sum(packets), 0) + chance
        lost_share += chance * sum(packets) / 7
    mean = sum(k * c for k, c in chances.items())
    sd = math.sqrt(sum((k - mean) ** 2 * c for k, c in chances.items()))
    assert lost_share == pytest.approx(rate)
    assert chain.received_sd(7) == pytest.approx(sd)


def test_bursts_of_the_independent_length_spread_as_a_binomial() -> None:
    assert GilbertElliott(0.2, 1.25).received_sd(132) == pytest.approx(PUBLISHED.received.sd)
    assert GilbertElliott(0.2, 8).received_sd(132) > 2 * PUBLISHED.received.sd


def test_the_published_parameters_of_a_chain() -> None:
    """p_bg = 1/L and p_gb = p_bg p / (1 - p)."""
    chain = GilbertElliott(0.2, 5)
    assert (chain.ends, chain.begins) == pytest.approx((0.2, 0.05))
    assert GilbertElliott(0.9, 9).begins == pytest.approx(1)


BAD = {
    "rate 1": (lambda: Transfer(1, 1e-3, 1.0), r"loss_rate 1 is not in \[0, 1\)"),
    "rate NaN": (lambda: Transfer(1, 1e-3, math.nan), r"loss_rate nan is not in"),
    "no packet": (lambda: Transfer(0, 1e-3), "packets 0 is not above 0"),
    "endless packet": (lambda: Transfer(1, math.inf), "packet_s inf is not a finite"),
    "past": (lambda: Transfer(1, 1e-3, 0, -1), "delay_s -1 is not"),
    "no payload": (lambda: Transfer.over(Link(1e6, mtu=50), 9, 50), "header_bytes 50 leaves no"),
    "negative header": (lambda: Transfer.over(Link(1e6, mtu=50), 9, -1), "header_bytes -1 leaves"),
    "quantile": (lambda: PUBLISHED.sent.quantile(1.0), r"quantile 1 is not in \(0, 1\)"),
    "chain rate": (lambda: GilbertElliott(-0.1, 2), r"loss_rate -0.1 is not in"),
    "chain burst": (lambda: GilbertElliott(0.1, 0.5), "mean_burst 0.5 is not a finite number"),
    "no chain": (lambda: GilbertElliott(0.9, 2), "too short for the rate.*\n.*\n.*at least 9"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused(name: str) -> None:
    make, match = BAD[name]
    with pytest.raises(UsageError, match=match):
        make()
