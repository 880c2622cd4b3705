# SPDX-License-Identifier: Apache-2.0
"""What was planned for a lossy link holds with device and server over a simulated one."""

from __future__ import annotations

import pytest

from splitc import Link
from splitc.errors import UsageError
from splitc.search.loss_choice import Choice, LossPlan, plan_for_loss
from splitc.simulate.plan_trial import Trial, try_out
from tests.search.lossy import GRAPH, TESTED

pytest.importorskip("zfec", reason="needs zfec for parity")


def plan(
    within: str | float, loss: float = 0.2, parities: tuple[int, ...] = (0, 25),
    again: bool = True, mean_burst: float | None = None, share: float = 0.95,
) -> LossPlan:  # fmt: skip
    return plan_for_loss(
        GRAPH, TESTED, within=within, share=share, head="rpi4", tail="host", parities=parities,
        resends=again, mtus=(1500,), mean_burst=mean_burst,
        link=Link("9Mbit", rtt="4ms", loss=loss),
    )  # fmt: skip


def holds(choice: Choice, limit_s: float, frames: int, seed: int) -> Trial:
    """Try a choice out: as many frames keep the limit as it says, and as accurately."""
    tried = try_out(choice, limit_s, frames, seed)
    low, high = tried.interval
    assert high >= choice.within(limit_s) >= choice.share
    assert low <= choice.within(limit_s) + 0.02, "what is said is no less than it is"
    error = 2 * tried.accuracy_error + 0.05
    assert tried.accuracy == pytest.approx(choice.accuracy, abs=error)
    return tried


@pytest.mark.parametrize("limit", ["14ms", "30ms", "90ms"])
@pytest.mark.parametrize("loss", [0.1, 0.4])
def test_as_many_frames_keep_the_limit_as_the_plan_says(limit: str, loss: float) -> None:
    found = plan(limit, loss)
    holds(found.winner, found.within_s, 400, seed=3)


@pytest.mark.parametrize("bits", [8, 4])
def test_what_is_sent_again_is_late_as_often_as_the_plan_says(bits: int) -> None:
    again = next(
        c for c in plan(1.0).choices
        if c.sending.resends and c.trained.bits == bits and c.crossing.packets > 20
    )  # fmt: skip
    holds(again, again.latency_s, 200, seed=1)
    sooner_s = again.latency_s * 0.85
    low, high = try_out(again, sooner_s, 200, seed=1).interval
    assert low - 0.05 <= again.within(sooner_s) <= high


def test_frames_that_lose_their_first_packets_keep_the_limit_too() -> None:
    for share in (0.9, 0.99):
        found = plan("40ms", 0.4, parities=(0,), again=False, share=share)
        once = next(c for c in found.choices if c.trained.bits == 32)
        tried = try_out(once, once.latency_s, 600, seed=5)
        assert tried.interval[1] >= share
        assert tried.interval[0] <= once.within(once.latency_s)
        # Those that lost more of the first packets than the plan waits for are late.
        assert (tried.kept < 600) == (share == 0.9)


def test_parity_heals_as_much_as_the_plan_says() -> None:
    healed = next(c for c in plan(1.0).choices if c.sending.parity_percent and c.trained.bits == 8)
    tried = holds(healed, healed.latency_s, 600, seed=2)
    assert tried.missing == pytest.approx(healed.crossing.missing.mean, rel=0.2, abs=0.005)


@pytest.mark.parametrize("again", [False, True])
def test_bursts_are_planned_for_as_they_come(again: bool) -> None:
    found = plan(1.0, again=again, mean_burst=6.0, share=0.9)
    ways = [c for c in found.choices if c.sending.resends == again and c.trained.bits < 32]
    for one in ways[::9]:
        tried = try_out(one, one.latency_s, 300, seed=4)
        low, high = tried.interval
        assert high >= one.within(one.latency_s) - 0.01
        assert low <= one.within(one.latency_s) + 0.1
        assert tried.accuracy == pytest.approx(one.accuracy, abs=2.5 * tried.accuracy_error + 1)
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


def test_no_frames_too_many_and_packets_that_nobody_sends_are_refused() -> None:
    with pytest.raises(UsageError, match=r"frames 0\n.*from 1 to 1000000"):
        try_out(plan(1.0).winner, 1.0, 0)
    small = plan_for_loss(GRAPH, TESTED, within=1.0, link=Link("9Mbit", mtu=300))
    with pytest.raises(UsageError, match=r"mtu 300 is out of range"):
        try_out(small.winner, 1.0, 10)
