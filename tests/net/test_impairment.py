# SPDX-License-Identifier: Apache-2.0
"""What a bad link decides: the same again from the same seed, and as often as it says.

Seeds are fixed, so that nothing here is left to chance. A share of n draws of probability p is
held within five standard deviations, which one seed in two million would miss.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from splitc.errors import UsageError
from splitc.link.link import Link
from splitc.link.link_trace import LinkTrace
from splitc.link.loss_latency import GilbertElliott
from splitc.link.loss_trace import loss_trace
from splitc.net.bottleneck import Bottleneck
from splitc.net.impairment import Direction, Fate, Impairment, Plan, flipped

MANY = 50_000


def fates(
    impairment: Impairment, seed: int = 1, count: int = MANY, direction: int = 0
) -> list[Fate]:
    plan = Plan(impairment, seed, direction)
    return [plan.fate(number) for number in range(count)]


def assert_share(found: int, of: int, expected: float) -> None:
    assert abs(found / of - expected) <= 5 * math.sqrt(expected * (1 - expected) / of)


BAD = Impairment(
    loss=0.2, delay="5ms", jitter="2ms", reorder=0.1, duplicate=0.05, corrupt=0.03
)  # fmt: skip


def test_the_same_seed_does_the_same_and_another_something_else() -> None:
    assert fates(BAD, 7, 3000) == fates(BAD, 7, 3000)
    assert fates(BAD, 7, 3000) != fates(BAD, 8, 3000)
    assert fates(BAD, 7, 3000) != fates(BAD, 7, 3000, direction=1)


def test_a_packets_fate_hangs_on_its_number_alone() -> None:
    plan, all_of_them = Plan(BAD, 3), fates(BAD, 3, 5000)
    for number in (0, 17, 17, 1023, 1024, 4999):
        assert plan.fate(number) == all_of_them[number]
    with pytest.raises(ValueError, match="packet 17 is past"):
        plan.fate(17)


def test_every_effect_comes_as_often_as_it_says() -> None:
    found = fates(BAD)
    assert_share(sum(f.lost for f in found), MANY, 0.2)
    assert_share(sum(f.hurried for f in found), MANY, 0.1)
    assert_share(sum(f.copies == 2 for f in found), MANY, 0.05)
    assert_share(sum(f.spoilt for f in found), MANY, 0.03)
    late = [f.delay_s for f in found if not f.hurried]
    assert 5e-3 <= min(late) < 5.01e-3
    assert 6.99e-3 < max(late) < 7e-3
    assert np.mean(late) == pytest.approx(6e-3, abs=5 * 2e-3 / math.sqrt(12 * MANY))
    assert {f.delay_s for f in found if f.hurried} == {0.0}


def test_one_setting_leaves_what_the_others_do_as_it_was() -> None:
    alone = [f.lost for f in fates(Impairment(loss=0.2), 5, 5000)]
    among = [f.lost for f in fates(BAD, 5, 5000)]
    assert alone == among


def test_losses_are_independent_of_each_other() -> None:
    lost = [f.lost for f in fates(Impairment(loss=0.3))]
    both = sum(a and b for a, b in itertools.pairwise(lost))
    assert_share(both, MANY - 1, 0.09)


@pytest.mark.parametrize(("rate", "burst"), [(0.1, 4.0), (0.3, 10.0), (0.5, 1.0)])
def test_bursts_are_as_long_and_as_many_as_the_model_says(rate: float, burst: float) -> None:
    model = GilbertElliott(rate, burst)
    lost = [f.lost for f in fates(Impairment(burst=model))]
    # The standard deviation of a share whose packets hang together: `received_sd`.
    assert abs(sum(lost) / MANY - rate) <= 5 * model.received_sd(MANY) / MANY
    runs = [sum(1 for _ in run) for value, run in itertools.groupby(lost) if value]
    sd = math.sqrt(1 - 1 / burst) * burst
    assert abs(sum(runs) / len(runs) - burst) <= 5 * sd / math.sqrt(len(runs)) + 1e-9
    # From the first packet on, over many seeds: the chain does not begin in a state of its own.
    first = sum(Plan(Impairment(burst=model), seed).fate(0).lost for seed in range(400))
    assert_share(first, 400, rate)


def test_a_recorded_trace_is_played_from_its_beginning_and_again() -> None:
    trace = loss_trace([1, 0, 0, 1, 0])
    lost = [f.lost for f in fates(Impairment(trace=trace), count=2003)]
    assert lost == ([True, False, False, True, False] * 401)[:2003]


def test_a_bandwidth_passes_one_packet_after_another_and_its_queue_is_bounded() -> None:
    """Itahara et al.: 500-byte packets at 9 Mb/s take 0.4444 ms each."""
    link = Bottleneck(9e6, queue_bytes=5100)
    left = [link.leaves(1.0, 500) for _ in range(12)]
    assert left[:10] == pytest.approx([1 + n * 500 * 8 / 9e6 for n in range(1, 11)])
    assert left[10:] == [None, None]
    assert link.leaves(1.0 + 1.5 * 500 * 8 / 9e6, 500) == pytest.approx(1 + 11 * 500 * 8 / 9e6)
    assert link.leaves(100.0, 500) == pytest.approx(100 + 500 * 8 / 9e6)


def test_a_packet_longer_than_the_queue_passes_where_nothing_waits() -> None:
    link = Bottleneck(8e3, queue_bytes=100)
    assert link.leaves(0.0, 500) == pytest.approx(0.5)
    assert link.leaves(0.1, 10) is None


def test_a_direction_hands_on_what_its_plan_says_and_counts_it() -> None:
    one, number = Direction(BAD, 9), 0
    handed = 0
    for number, fate in enumerate(fates(BAD, 9, 2000)):
        packet = number.to_bytes(100, "little")
        came = one.take(packet, now=float(number))
        assert len(came) == (0 if fate.lost else fate.copies)
        for when, what in came:
            assert when == number + fate.delay_s
            wrong = int.from_bytes(what, "little") ^ number
            assert wrong.bit_count() == fate.spoilt
        handed += len(came)
    passed = one.passed
    assert passed.came == 2000
    assert handed == passed.came - passed.lost + passed.duplicated
    assert (passed.queue_full, passed.delivered) == (0, 0)


def test_what_does_not_fit_the_queue_is_counted_apart_from_losses() -> None:
    one = Direction(Impairment(bandwidth="1Mbit", queue_bytes=10_280), 1)
    left = [when for _ in range(20) for when, _ in one.take(bytes(1000), 0.0)]
    assert left == pytest.approx([n * 1028 * 8 / 1e6 for n in range(1, 11)])
    assert (one.passed.queue_full, one.passed.lost) == (10, 0)


def test_one_bit_is_flipped() -> None:
    assert flipped(b"", 0.5) == b""
    assert flipped(b"\0\0", 0.0) == b"\1\0"
    assert flipped(b"\0\0", 0.9999) == b"\0\x80"


def test_a_direction_of_a_link_has_half_its_round_trip() -> None:
    one = Impairment.of(Link("9Mbit", rtt="20ms", loss=0.1))
    assert (one.bandwidth_bps, one.delay_s, one.loss) == (9e6, 0.01, 0.1)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"loss": 1.0}, "loss 1 is not in"),
        ({"duplicate": -0.1}, "duplicate -0.1 is not in"),
        ({"reorder": math.nan}, "reorder nan is not in"),
        ({"delay": "soon"}, "no duration"),
        ({"jitter": -1.0}, "no duration"),
        ({"bandwidth": "fast"}, "no bandwidth"),
        ({"queue_bytes": 0}, "queue_bytes 0 is not above 0"),
        ({"overhead_bytes": -1}, "overhead_bytes -1 is below 0"),
        ({"trace": np.zeros(0, np.bool_)}, "the trace is empty"),
        ({"loss": 0.1, "burst": GilbertElliott(0.1, 2)}, "losses come from one of"),
    ],
)
def test_an_option_out_of_range_is_a_usage_error(options: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Impairment(**options)


def test_a_negative_seed_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="seed -1 is below 0"):
        Plan(Impairment(), -1)


FALLING = LinkTrace([0, 1, 2], [8e7, 8e6, 8e7], [0.0, 0.5, 0.0])


def test_a_recorded_link_changes_bandwidth_with_the_time_since_its_first_packet() -> None:
    one = Direction(Impairment(varying=LinkTrace([5, 6], [8e6, 8e5], [0, 0]), delay=0.01), 1)
    ((first, _),) = one.take(bytes(972), 100.0)
    ((second, _),) = one.take(bytes(972), 101.5)
    assert (first, second) == pytest.approx((100.0 + 1e-3 + 0.01, 101.5 + 1e-2 + 0.01))
    assert one.busy_s == pytest.approx(1e-3 + 1e-2)


def test_a_recorded_link_loses_as_much_as_at_that_time_and_the_same_again() -> None:
    def lost(seed: int) -> list[bool]:
        one = Direction(Impairment(varying=FALLING, queue_bytes=1 << 30), seed)
        return [not one.take(bytes(10), 50 + k * 1e-4) for k in range(30_000)]

    found = lost(3)
    assert not any(found[:9_999])
    assert not any(found[20_001:])
    assert_share(sum(found[10_001:19_999]), 9_998, 0.5)
    assert found == lost(3)


def test_what_waits_for_a_link_that_slows_down_is_bounded_in_bytes() -> None:
    link = Bottleneck(LinkTrace([0, 1], [8e6, 8e3], [0, 0]), queue_bytes=3000)
    link.begin(0.0)
    left = [link.leaves(0.9995, 1000) for _ in range(5)]
    # Half of the first passes at the old rate, what follows at the new one.
    assert left[:3] == pytest.approx([1.5, 2.5, 3.5])
    assert left[3:] == [None, None]


def test_a_recorded_link_stands_for_bandwidth_and_losses() -> None:
    with pytest.raises(UsageError, match="losses come from one of"):
        Impairment(varying=FALLING, loss=0.1)
    with pytest.raises(UsageError, match="bandwidth comes from one of"):
        Impairment(varying=FALLING, bandwidth="1Mbit")
    assert not Impairment(varying=FALLING).only_slow
    assert Impairment(varying=LinkTrace([0], [1e6], [0])).only_slow
