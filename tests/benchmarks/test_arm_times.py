# SPDX-License-Identifier: Apache-2.0
"""Times are cycles and memory; the one constant is what published times have it."""

from __future__ import annotations

import pytest
from arm_caches import Traffic
from arm_times import Time, exposed, fit

from splitc.cost.board import load_board

RPI4 = load_board("rpi4")


def test_a_time_is_the_longer_of_two_and_a_share_of_the_shorter() -> None:
    near = Traffic(9, 9, 9, 9)
    time = Time.of(RPI4.clock_hz / 10, [near, Traffic(40_000, 10_000, 20_000, 30_000)], RPI4)
    assert time.memory_bytes == 100_000 * 64
    assert time.cycles_ms == pytest.approx(100.0)
    assert time.memory_ms == pytest.approx(6.4e6 / (3.12 * 1.8e9) * 1e3)
    assert time.ms(0.0) == pytest.approx(100.0)
    assert time.ms(0.5) == pytest.approx(100.0 + time.memory_ms / 2)
    assert Time(2.0, 8.0, 0).ms(0.5) == 9.0


def test_the_fit_finds_the_share_that_times_were_made_with() -> None:
    times = {
        name: Time(ms, own, 0) for name, ms, own in (("a", 50, 40), ("b", 90, 20), ("c", 9, 5))
    }
    made = fit(times, {name: time.ms(0.6) for name, time in times.items()})
    assert made.exposed == pytest.approx(0.6)
    assert all(ratio == pytest.approx(1.0) for ratio in made.left_out.values())
    assert made.spread == pytest.approx(0.0, abs=1e-9)


def test_a_network_that_is_left_out_does_not_count_in_its_own_fit() -> None:
    times = {name: Time(50.0, 50.0, 0) for name in "abc"}
    made = fit(times, {"a": 60.0, "b": 60.0, "c": 90.0})
    assert made.left_out["c"] == pytest.approx(90.0 / 60.0)
    assert made.spread == pytest.approx(0.5)


def test_the_file_of_the_core_has_the_constant() -> None:
    assert 0 <= exposed(RPI4) <= 1
