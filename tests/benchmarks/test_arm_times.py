# SPDX-License-Identifier: Apache-2.0
"""Times are cycles and memory; the one constant is what published times have it."""

from __future__ import annotations

import pytest
from arm_caches import Traffic
from arm_times import Time, exposed, fit

from splitc.cost.board import load_board

RPI4 = load_board("rpi4")


MS = 3.12 * 1.8e9 / 1e3
"""Bytes that one core of a Raspberry Pi 4 gets of memory in a millisecond."""


def time(cycles_ms: float, memory_ms: float) -> Time:
    return Time(RPI4, cycles_ms * 1.8e6, round(memory_ms * MS))


def test_a_time_is_the_longer_of_two_and_a_share_of_the_shorter() -> None:
    near = Traffic(9, 9, 9, 9)
    made = Time.of(RPI4.clock_hz / 10, [near, Traffic(40_000, 10_000, 20_000, 30_000)], RPI4)
    assert made.memory_bytes == 100_000 * 64
    assert made.cycles_ms() == pytest.approx(100.0)
    assert made.memory_ms() == pytest.approx(6.4e6 / MS)
    assert made.ms(0.0) == pytest.approx(100.0)
    assert made.ms(0.5) == pytest.approx(100.0 + made.memory_ms() / 2)
    assert time(2, 8).ms(0.5) == pytest.approx(9.0)


def test_all_cores_divide_the_cycles_and_share_memory() -> None:
    made = time(100, 50)
    assert made.cycles_ms(4) == pytest.approx(25.0)
    assert made.memory_ms(4) == pytest.approx(50 * MS * 1e3 / RPI4.memory_bandwidth)
    assert made.ms(1.0, 4) == pytest.approx(made.cycles_ms(4) + made.memory_ms(4))


def test_the_fit_finds_the_share_that_times_were_made_with() -> None:
    times = {"a": time(50, 40), "b": time(90, 20), "c": time(9, 5)}
    made = fit(times, {name: each.ms(0.6) for name, each in times.items()})
    assert made.exposed == pytest.approx(0.6)
    assert all(ratio == pytest.approx(1.0) for ratio in made.left_out.values())
    assert made.spread == pytest.approx(0.0, abs=1e-9)


def test_a_network_that_is_left_out_does_not_count_in_its_own_fit() -> None:
    times = {name: time(50, 50) for name in "abc"}
    made = fit(times, {"a": 60.0, "b": 60.0, "c": 90.0})
    assert made.left_out["c"] == pytest.approx(90.0 / 60.0)
    assert made.spread == pytest.approx(0.5)


def test_the_file_of_the_core_has_the_constant() -> None:
    assert 0 <= exposed(RPI4) <= 1
