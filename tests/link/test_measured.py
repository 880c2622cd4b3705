# SPDX-License-Identifier: Apache-2.0
"""Estimates find what the link was made with."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from splitc.link.loss_latency import GilbertElliott
from splitc.link.measured import Losses, RoundTrips, train_bandwidth
from splitc.net.impairment import Bottleneck, Impairment, Plan

MANY = 20_000

Flags = NDArray[np.bool_]
Times = NDArray[np.float64]


def lost(impairment: Impairment, seed: int, count: int = MANY) -> Flags:
    plan = Plan(impairment, seed)
    return np.array([plan.fate(number).lost for number in range(count)])


def test_losses_are_counted_by_hand() -> None:
    found = Losses.of(np.array([1, 1, 0, 0, 1, 0, 1, 1, 1], np.bool_))
    assert found == Losses(9, 6, 3)
    assert (found.rate, found.mean_burst) == (6 / 9, 2.0)


@pytest.mark.parametrize(("rate", "burst"), [(0.1, 4.0), (0.3, 8.0), (0.02, 3.0)])
def test_the_model_of_bursts_is_found_again(rate: float, burst: float) -> None:
    model = GilbertElliott(rate, burst)
    found = Losses.of(lost(Impairment(burst=model), 3))
    fitted = found.gilbert_elliott
    assert fitted is not None
    assert abs(fitted.loss_rate - rate) < 5 * model.received_sd(MANY) / MANY
    assert abs(fitted.mean_burst - burst) < 5 * burst / math.sqrt(found.bursts)
    assert found.bursty


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.2, 0.6])
@pytest.mark.parametrize("count", [100, MANY])
def test_independent_losses_are_not_called_bursts(rate: float, count: int) -> None:
    for seed in range(5):
        assert not Losses.of(lost(Impairment(loss=rate), seed, count)).bursty


def test_nothing_lost_and_nothing_else_have_no_model() -> None:
    for none in (np.zeros(5, np.bool_), np.ones(5, np.bool_), np.zeros(0, np.bool_)):
        found = Losses.of(none)
        assert found.gilbert_elliott is None
        assert not found.bursty
    assert Losses.of(np.array([True] * 9 + [False])).gilbert_elliott == GilbertElliott(0.9, 9)
    assert Losses.of(np.array([True, False, True])).gilbert_elliott is None


def arrivals(count: int, *, loss: float = 0.0, queue_bytes: int = 10**9) -> Times:
    """When packets of 1,500 bytes come that were sent at once over 9 Mb/s; never is no number."""
    link, plan = Bottleneck(9e6, queue_bytes), Plan(Impairment(loss=loss), 1)
    left = [link.leaves(0.0, 1500) for _ in range(count)]
    return np.array(
        [math.nan if at is None or plan.fate(n).lost else at for n, at in enumerate(left)]
    )


@pytest.mark.parametrize("loss", [0.0, 0.3, 0.6])
def test_a_train_tells_the_bandwidth_whatever_is_lost_of_it(loss: float) -> None:
    assert train_bandwidth(arrivals(64, loss=loss), 1500) == pytest.approx(9e6)
    # Half of the train does not fit the queue; that says nothing about the rate.
    queued = arrivals(64, loss=loss, queue_bytes=48_000)
    assert train_bandwidth(queued, 1500) == pytest.approx(9e6)


def test_packets_that_were_read_several_at_once_tell_it_too() -> None:
    times = np.repeat(arrivals(64, loss=0.0)[::8], 8)
    assert train_bandwidth(times[:-3], 1500) == pytest.approx(9e6)


def test_a_bucket_of_tokens_is_left_out() -> None:
    burst = np.concatenate([np.zeros(8), 1 + np.arange(1, 25) * 1500 * 8 / 9e6])
    assert train_bandwidth(burst, 1500) == pytest.approx(9e6)


@pytest.mark.parametrize(
    "times", [[], [1.0], [1.0, 1.0, 1.0], [math.nan, 1.0], [2.0, 1.0], [1.0, math.nan, 2.0]]
)
def test_too_few_packets_and_clocks_that_go_back_tell_nothing(times: list[float]) -> None:
    assert train_bandwidth(np.array(times), 1500) is None


def test_round_trips_are_values_that_were_measured() -> None:
    found = RoundTrips.of(np.arange(1, 101) / 1e3)
    assert found == RoundTrips(100, 0.001, 0.05, 0.099)
