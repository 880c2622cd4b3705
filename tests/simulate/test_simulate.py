# SPDX-License-Identifier: Apache-2.0
"""Device, server and link on a simulated clock: what comes out, and when."""

from __future__ import annotations

import numpy as np
import pytest

from splitc.errors import UsageError
from splitc.link.link_trace import LinkTrace
from splitc.link.loss_latency import Transfer
from splitc.link.packets import payload_bytes
from splitc.net.impairment import Impairment
from splitc.policy.adaptive import Adaptive
from splitc.policy.fixed import Fixed
from splitc.send.settings import TRANSPORTS, Settings, Transport
from splitc.simulate import Assumed, AssumedParts, TwoWays, simulate
from splitc.wire.header import HEADER_BYTES, IP_UDP_BYTES
from tests.simulate.test_theory import chi_squared

PAYLOAD, OVERHEAD = payload_bytes(1500), IP_UDP_BYTES + HEADER_BYTES
CHUNKS = 40
HEAD_S, TAIL_S = 0.004, 0.002
ROUTE = Assumed("cut", HEAD_S, CHUNKS * PAYLOAD, TAIL_S, result_bytes=40)
PARTS = AssumedParts([ROUTE])
ONE = Settings(in_flight=1, deadline_s=0.5)


def settings(transport: Transport) -> Settings:
    return Settings(transport=transport, in_flight=1, deadline_s=0.5)


def test_a_frame_takes_what_head_packets_way_tail_and_answer_take() -> None:
    found = simulate(PARTS, TwoWays.of(bandwidth="9Mbit", rtt="10ms"), ONE, frames=50)
    packet_s = (PAYLOAD + OVERHEAD) * 8 / 9e6
    answer_s = (40 + OVERHEAD) * 8 / 9e6
    wanted = HEAD_S + CHUNKS * packet_s + TAIL_S + answer_s + 0.01
    assert found.latencies_s == pytest.approx(wanted, abs=1e-9)
    assert found.share == 1.0
    began = [record.began_s for record in found.records]
    assert np.diff(began) == pytest.approx(wanted, abs=1e-9), "one behind the other"


def test_while_a_frame_is_under_way_the_next_ones_head_runs() -> None:
    link = TwoWays.of(bandwidth="9Mbit", rtt="10ms")
    busy = simulate(PARTS, link, Settings(in_flight=3, deadline_s=0.5), frames=100)
    transfer_s = CHUNKS * (PAYLOAD + OVERHEAD) * 8 / 9e6
    began = np.array([record.began_s for record in busy.records])
    assert np.diff(began)[10:] == pytest.approx(transfer_s, abs=1e-6), "the link is never idle"


def test_a_link_that_takes_longer_for_a_packet_than_the_grace_is_not_flooded() -> None:
    asking = Settings(
        transport="resend", in_flight=1, deadline_s=4.0, bandwidth_bps=1e6, silent_after_s=9.0
    )
    assert asking.grace_s < (PAYLOAD + OVERHEAD) * 8 / 1e6
    whole = simulate(PARTS, TwoWays.of(bandwidth="1Mbit", rtt="10ms"), asking, frames=20)
    assert (whole.share, whole.counters.packets_resent) == (1.0, 0)
    lossy = TwoWays.of("iid(0.1)", bandwidth="1Mbit", rtt="10ms")
    some = simulate(PARTS, lossy, asking, frames=100)
    assert some.share == 1.0
    lost = 0.1 / 0.9 * 100 * CHUNKS
    assert some.counters.packets_resent < 3 * lost


def test_without_retransmission_what_comes_is_binomial() -> None:
    link = TwoWays(
        Impairment(loss=0.2, bandwidth="9Mbit", delay=0.005), Impairment(delay=0.005)
    )  # fmt: skip
    found = simulate(PARTS, link, ONE, frames=1500, seed=3)
    came = np.rint([record.share * CHUNKS for record in found.records]).astype(np.int64)
    assert chi_squared(came, Transfer(CHUNKS, 1e-3, 0.2).received) > 0.01


def test_the_same_seed_does_the_same_and_another_something_else() -> None:
    link = TwoWays.of("gilbert(0.1, 4)", bandwidth="9Mbit", rtt="10ms")
    once, again, other = (
        simulate(PARTS, link, ONE, frames=60, seed=seed, spread=0.2) for seed in (5, 5, 6)
    )
    assert once.records == again.records
    assert once.records != other.records


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_frame_is_answered_once_over_every_transport(transport: Transport) -> None:
    link = TwoWays.of("iid(0.1)", bandwidth="20Mbit", rtt="4ms", jitter="1ms")
    found = simulate(PARTS, link, settings(transport), frames=80, seed=2)
    assert [record.number for record in found.records] == list(range(80))
    assert found.unanswered == 0
    assert found.counters.answered == 80
    shares = [record.share for record in found.records]
    if transport in ("resend", "tcp"):
        assert min(shares) == 1.0
    else:
        assert min(shares) < 1.0
    assert bool(found.notes) == (transport == "tcp"), "only TCP is a model"


def test_what_is_sent_again_costs_time_and_what_is_not_costs_values() -> None:
    link = TwoWays.of("iid(0.2)", bandwidth="9Mbit", rtt="10ms")
    udp, resend = (simulate(PARTS, link, settings(t), frames=300) for t in ("udp", "resend"))
    assert udp.share == pytest.approx(0.8, abs=0.01)
    assert resend.share == pytest.approx(1.0, abs=1e-3)
    assert float(np.median(resend.latencies_s)) > 1.2 * float(np.median(udp.latencies_s))


def test_frames_that_come_faster_than_they_go_wait_and_their_wait_counts() -> None:
    link = TwoWays.of(bandwidth="9Mbit", rtt="10ms")
    slow = simulate(PARTS, link, ONE, frames=50, rate=5)
    assert [record.began_s for record in slow.records] == pytest.approx(
        [slow.records[0].began_s + k / 5 for k in range(50)]
    )
    fast = simulate(PARTS, link, ONE, frames=50, rate=50)
    assert fast.latencies_s[0] == pytest.approx(slow.latencies_s[0])
    assert np.all(np.diff(fast.latencies_s) > 0)
    assert slow.missed(0.1) == 0
    assert fast.missed(0.1) > 40


def test_a_server_that_is_not_heard_is_given_up_and_counts_as_missed() -> None:
    dead = LinkTrace([0, 1], [9e6, 1.0], [0, 0])
    link = TwoWays.of(dead, rtt="10ms")
    found = simulate(PARTS, link, ONE, frames=30, rate=20)
    assert found.unanswered > 0
    last = found.records[-1]
    assert (last.latency_s, last.link_tail_s, last.share, last.correct) == (None, None, 0.0, None)
    assert found.missed(100.0) == found.unanswered


FALLING = LinkTrace([0, 5, 15], [50e6, 5e6, 50e6], [0, 0, 0])
ROUTES = AssumedParts(
    [
        Assumed("early", 0.004, 200_000, 0.002), Assumed("late", 0.060, 10_000, 0.001),
    ]
)  # fmt: skip


def test_a_policy_moves_the_cut_when_the_link_falls_and_back() -> None:
    link = TwoWays.of(FALLING, rtt="4ms")
    found = simulate(ROUTES, link, ONE, frames=250, rate=10, policy=Adaptive())
    at = {True: "late", False: "early"}
    settled = [r for r in found.records if not 4.9 < r.began_s < 8 and not 14.9 < r.began_s < 17]
    assert all(r.route == at[5 <= r.began_s < 15] for r in settled)
    assert (found.switches, found.unanswered) == (2, 0)
    fixed = {
        name: simulate(ROUTES, link, ONE, frames=250, rate=10, policy=Fixed(name)).records
        for name in at.values()
    }
    for record in settled:
        best_s = min(one[record.number].latency_s or 1.0 for one in fixed.values())
        # A report comes before the answer where there is something to choose.
        assert (record.latency_s or 1.0) <= best_s + 2e-4


def test_what_makes_no_simulation_is_a_usage_error() -> None:
    link = TwoWays.of(bandwidth="9Mbit")
    with pytest.raises(UsageError, match="0 frames are not from 1"):
        simulate(PARTS, link, frames=0)
    with pytest.raises(UsageError, match="a rate of -1"):
        simulate(PARTS, link, rate=-1)
    with pytest.raises(UsageError, match="spread 3 is not from 0 to 2"):
        simulate(PARTS, link, spread=3)
    with pytest.raises(UsageError, match="without values inputs are of no use"):
        simulate(PARTS, link, inputs=[{"x": np.zeros(1)}])
    with pytest.raises(UsageError, match="there is no route 'elsewhere'"):
        simulate(PARTS, link, policy=Fixed("elsewhere"))
    with pytest.raises(UsageError, match="there is no route to simulate"):
        AssumedParts([])


MODELS = {
    "iid(1.5)": r"loss 1.5 is not in \[0, 1\)",
    "iid(x)": "no link model 'iid\\(x\\)'",
    "iid(1e)": "'1e' in 'iid\\(1e\\)' is no number",
    "gilbert(0.2)": "no link model",
    "gilbert(0.2, 0.1)": "mean_burst 0.1 is not",
    "none.csv": "no file 'none.csv'",
}


@pytest.mark.parametrize("text", MODELS)
def test_what_is_no_link_model_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=MODELS[text]):
        TwoWays.of(text)


def test_a_recorded_link_has_its_own_bandwidth() -> None:
    with pytest.raises(UsageError, match="there are two bandwidths"):
        TwoWays.of(FALLING, bandwidth="9Mbit")
