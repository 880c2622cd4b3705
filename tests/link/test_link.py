# SPDX-License-Identifier: Apache-2.0
"""Links: units, transfer times, bad figures."""

from __future__ import annotations

import pytest

from splitc.errors import UsageError
from splitc.link.link import LINKS, Link, parse_bandwidth, parse_seconds, parse_share


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("20Mbit", 20e6),
        ("20MBit", 20e6),
        ("20Bit", 20),
        ("3Mbps", 3e6),
        ("3MBps", 24e6),
        ("250 kbit/s", 250e3),
        ("1Gbps", 1e9),
        ("2.5MB/s", 20e6),
        ("20MB/s", 160e6),
        ("20M", 20e6),
        (9e6, 9e6),
    ],
)
def test_bandwidths_are_read_in_their_units(text: str | float, bits: float) -> None:
    assert parse_bandwidth(text) == bits


@pytest.mark.parametrize(("text", "seconds"), [("5ms", 5e-3), ("0.2s", 0.2), ("300us", 3e-4)])
def test_durations_are_read_in_their_units(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["20", " 20 ", "9e6", "0.1"])
def test_a_bandwidth_without_its_unit_asks_for_it(text: str) -> None:
    with pytest.raises(UsageError, match="has no unit") as caught:
        Link(text)
    assert f"write {text.strip()}Mbit or" in caught.value.hint


def test_a_time_without_its_unit_asks_for_it_and_zero_has_none() -> None:
    with pytest.raises(UsageError, match="time '5' has no unit") as caught:
        Link("1Mbit", rtt="5")
    assert caught.value.hint == "write 5ms or 5s, whichever is meant"
    assert parse_seconds("0") == Link("1Mbit", rtt="0").rtt_s == 0


def test_numbers_in_python_are_bits_a_second_and_seconds() -> None:
    assert Link(20e6, rtt=0.005, loss=0.3) == Link("20Mbit", rtt="5ms", loss="30%")


@pytest.mark.parametrize(("text", "share"), [("30%", 0.3), ("0.3", 0.3), (" 2.5 % ", 0.025)])
def test_shares_are_read_as_percent_or_as_fraction(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["some", "%", "", "3%%"])
def test_a_bad_share_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="no share") as caught:
        Link("1Mbit", loss=text)
    assert "30%" in caught.value.hint


def test_the_packets_of_a_published_example_take_its_time() -> None:
    """Itahara et al.: 65.5 kB in 500-byte packets at 9 Mb/s; 132 packets, 58.67 ms."""
    link = Link("9Mbit", mtu=540)
    packets = 132
    assert link.transfer_s(65_536) == pytest.approx(packets * 540 * 8 / 9e6)
    assert link.transfer_s(65_536) * 500 / 540 == pytest.approx(58.67e-3, rel=1e-3)


def test_lost_packets_are_sent_again() -> None:
    clean, lossy = Link("9Mbit"), Link("9Mbit", loss=0.2)
    assert lossy.transfer_s(10**5) == pytest.approx(clean.transfer_s(10**5) / 0.8)
    assert clean.transfer_s(0) == 0


@pytest.mark.parametrize(
    "text", ["fast", "-3Mbit", "0", "", "1e400Mbit", "0.1bit", "Mbit", "1..5Mbit"]
)
def test_a_bad_bandwidth_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="no bandwidth"):
        Link(text)


@pytest.mark.parametrize(
    ("figures", "why"),
    [
        ({"rtt": "soon"}, "no duration"),
        ({"rtt": -1.0}, "no duration"),
        ({"loss": 1.0}, "loss rate"),
        ({"loss": "30"}, "loss rate 30 is not"),
        ({"loss": float("nan")}, "loss rate"),
        ({"mtu": 40}, "mtu 40"),
        ({"mtu": 70_000}, "mtu 70000"),
        ({"rtt": 1e300}, "no duration"),
    ],
)
def test_a_figure_out_of_range_is_a_usage_error(figures: dict[str, str | float], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Link("1Mbit", **figures)  # type: ignore[arg-type]


def test_an_unknown_link_gets_the_nearest_names() -> None:
    with pytest.raises(UsageError, match="no link 'wfi'") as caught:
        Link.named("wfi")
    assert "wifi" in caught.value.hint
    assert Link.named("lte") == LINKS["lte"]
