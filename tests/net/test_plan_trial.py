# SPDX-License-Identifier: Apache-2.0
"""What was planned for a lossy link holds over the link that the relay makes."""

from __future__ import annotations

import pytest

from splitc import Link
from splitc.errors import UsageError
from splitc.net.plan_trial import Trial, try_out
from splitc.search.loss_choice import LossPlan, plan_for_loss
from tests.search.lossy import GRAPH, TESTED


def plan(
    within: str | float, loss: float = 0.2, parities: tuple[int, ...] = (0, 25),
    again: bool = True, mean_burst: float | None = None,
) -> LossPlan:  # fmt: skip
    return plan_for_loss(
        GRAPH, TESTED, within=within, share=0.95, head="rpi4", tail="host", parities=parities,
        resends=again, mtus=(1500,), mean_burst=mean_burst,
        link=Link("9Mbit", rtt="4ms", loss=loss),
    )  # fmt: skip


@pytest.mark.parametrize("limit", ["12ms", "40ms", "90ms"])
@pytest.mark.parametrize("loss", [0.1, 0.4])
def test_as_many_frames_keep_the_limit_as_the_plan_says(limit: str, loss: float) -> None:
    found = plan(limit, loss)
    tried = try_out(found.winner, found.within_s, 1000, seed=3)
    low, high = tried.interval
    assert high >= found.winner.within(found.within_s) >= found.share
    assert low <= found.winner.within(found.within_s)
    assert tried.accuracy == pytest.approx(
        found.winner.accuracy, abs=2 * tried.accuracy_error + 1e-6
    )


def test_what_is_sent_again_is_late_as_often_as_the_plan_says() -> None:
    again = next(c for c in plan(1.0).choices if c.sending.resends and c.crossing.packets > 20)
    tried = try_out(again, again.latency_s, 800, seed=1)
    low, high = tried.interval
    assert low <= 0.95 + 0.02 and high >= 0.95
    assert tried.missing == 0 and tried.accuracy == again.accuracy
    late = try_out(again, again.latency_s * 0.8, 300, seed=1)
    assert late.interval[0] <= again.within(again.latency_s * 0.8) <= late.interval[1]


def test_less_time_than_the_packets_take_keeps_nothing() -> None:
    once = next(c for c in plan(1.0, again=False).choices if c.trained.bits == 32)
    short = try_out(once, once.latency_s - 0.002, 50)
    assert short.kept == 0
    assert short.missing > try_out(once, once.latency_s, 50).missing


def test_parity_heals_as_much_as_the_plan_says() -> None:
    healed = next(c for c in plan(1.0).choices if c.sending.parity_percent and c.trained.bits == 8)
    tried = try_out(healed, healed.latency_s, 1000, seed=2)
    assert tried.missing == pytest.approx(healed.crossing.missing.mean, rel=0.2, abs=0.005)


@pytest.mark.parametrize("again", [False, True])
def test_bursts_are_planned_for_as_they_are_tried_out(again: bool) -> None:
    found = plan(1.0, again=again, mean_burst=6.0)
    for one in [c for c in found.choices if c.sending.resends == again][::7]:
        tried = try_out(one, one.latency_s, 400, seed=4)
        low, high = tried.interval
        assert low <= one.within(one.latency_s) + 0.02
        assert high >= one.within(one.latency_s) - 0.01
        error = 2 * tried.accuracy_error + 0.3
        assert tried.accuracy == pytest.approx(one.accuracy, abs=error)
    once = next(c for c in found.choices if not c.sending.resends and not c.crossing.blocks)
    calm = next(c for c in plan(1.0, again=again).choices if c.knobs == once.knobs)
    assert once.accuracy < calm.accuracy, "the same rate, spread further"


@pytest.mark.parametrize(
    ("frames", "kept", "low", "high"),
    [(10, 10, 0.7225, 1.0), (1000, 990, 0.9817, 0.9946), (20, 0, 0.0, 0.1611)],
)
def test_the_interval_is_wilsons(frames: int, kept: int, low: float, high: float) -> None:
    found = Trial(frames, kept, 0.0, 0.0, 0.0).interval
    assert found == pytest.approx((low, high), abs=1e-4)


def test_no_frames_and_too_many_are_refused() -> None:
    with pytest.raises(UsageError, match=r"frames 0\n.*from 1 to 1000000"):
        try_out(plan(1.0).winner, 1.0, 0)
