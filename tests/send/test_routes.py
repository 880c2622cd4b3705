# SPDX-License-Identifier: Apache-2.0
"""Frames of several routes in one session: none lost, none answered twice, whatever changes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from splitc.errors import UsageError
from splitc.policy.adaptive import Adaptive
from splitc.policy.fixed import Fixed
from splitc.policy.gauge import Report
from splitc.send.settings import Settings, Transport
from splitc.send.steering import Steering, chosen_policy, keeping
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import Hello
from splitc.wire.header import Header, Kind
from splitc.wire.report import report_packet
from tests.send.two_ends import REMOTES, SPLIT, TwoEnds, Ways, tail, values

KEY = bytes(range(32))
TRANSPORTS: tuple[Transport, ...] = ("udp", "resend", "parity", "tcp")
NUMBER = {remote.name: remote.route for remote in REMOTES}


def assert_right(ends: TwoEnds, ticket: int) -> None:
    """The server's answer to all of a frame is that of the route that the frame took."""
    outcome, route = ends.outcomes[ticket], NUMBER[ends.routes[ticket]]
    assert outcome.arrays is not None
    assert outcome.share == 1.0
    for found, right in zip(outcome.arrays, tail(route, values(ticket, route)), strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("key", [None, KEY], ids=["open", "sealed"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_frame_may_take_another_route_than_the_one_before(
    transport: Transport, key: bytes | None
) -> None:
    """With several frames of different routes under way at once."""
    ends = TwoEnds(Settings(transport=transport, in_flight=4), key=key)
    ends.meet()
    for ticket in range(30):
        ends.frame(ticket, (ticket * 2) % 3)
        ends.run(0.004)
    ends.run(2.0)
    assert sorted(ends.outcomes) == list(range(30))
    for ticket in range(30):
        assert_right(ends, ticket)
    assert ends.measures.answers == 30
    assert ends.measures.routes == {f"sample/{one.name}": 10 for one in REMOTES}
    assert ends.session.counters.malformed == ends.session.counters.duplicate == 0


@pytest.mark.parametrize("transport", ["udp", "resend", "parity"])
def test_a_lossy_link_costs_no_frame_on_any_route(transport: Transport) -> None:
    lossy = Ways(loss=0.2, twice=0.1, jitter_s=0.003)
    how = Settings(transport=transport, in_flight=4, deadline_s=0.3, silent_after_s=2.0)
    ends = TwoEnds(how, ways=lossy, seed=1)
    ends.meet()
    for ticket in range(45):
        ends.frame(ticket, ticket % 3)
        ends.run(0.02)
    ends.run(3.0)
    assert sorted(ends.outcomes) == list(range(45))
    assert all(one.arrays is not None for one in ends.outcomes.values())
    for ticket, one in ends.outcomes.items():
        if one.share == 1.0:
            assert_right(ends, ticket)
    if transport == "resend":
        assert np.mean([one.share for one in ends.outcomes.values()]) > 0.99


class Frames(RuleBasedStateMachine):
    """Frames on any route, over a link and a server that change: each has one outcome."""

    @initialize(
        transport=st.sampled_from(TRANSPORTS), key=st.sampled_from([None, KEY]),
        in_flight=st.sampled_from([1, 2, 5]), seed=st.integers(0, 2**16),
    )  # fmt: skip
    def begin(self, transport: Transport, key: bytes | None, in_flight: int, seed: int) -> None:
        how = Settings(transport=transport, in_flight=in_flight, silent_after_s=0.4, deadline_s=0.1)
        self.ends = TwoEnds(how, key=key, seed=seed)
        self.next = 0

    @rule(route=st.sampled_from([None, 0, 1, 2]))
    def frame(self, route: int | None) -> None:
        self.ends.frame(self.next, route)
        self.next += 1

    @rule(ms=st.integers(1, 60))
    def wait(self, ms: int) -> None:
        self.ends.run(ms / 1e3)

    @rule(
        mbit=st.sampled_from([2, 10, 50, 500]), loss=st.sampled_from([0.0, 0.0, 0.1, 0.5]),
        twice=st.sampled_from([0.0, 0.3]), jitter=st.sampled_from([0.0, 0.01]),
    )  # fmt: skip
    def the_link_is_another(self, mbit: int, loss: float, twice: float, jitter: float) -> None:
        self.ends.ways = Ways(mbit * 1e6, mbit * 1e6, 0.002, jitter, loss, twice)

    @rule()
    def the_server_is_started_anew(self) -> None:
        self.ends.restart()

    def teardown(self) -> None:
        if not hasattr(self, "ends"):
            return
        self.ends.ways = Ways()
        # Frames that wait for one another wait that long each.
        self.ends.run(0.5 + 0.45 * self.next)
        assert sorted(self.ends.outcomes) == list(range(self.next))
        for ticket, one in self.ends.outcomes.items():
            assert (one.arrays is None) == (one.error is not None)
            if one.share == 1.0:
                assert_right(self.ends, ticket)


TestFrames = Frames.TestCase
TestFrames.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def stream(ends: TwoEnds, first: int, frames: int) -> list[str]:
    """Frames one behind the other; the route that each took."""
    for ticket in range(first, first + frames):
        assert ends.answer(ticket).arrays is not None
    return [ends.routes[ticket] for ticket in range(first, first + frames)]


def changes(routes: list[str]) -> int:
    return sum(a != b for a, b in pairwise(routes))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_route_changes_once_when_the_link_does_and_once_when_it_is_back(
    transport: Transport,
) -> None:
    ends = TwoEnds(Settings(transport=transport, in_flight=1, deadline_s=1.0))
    ends.meet()
    fast = stream(ends, 0, 60)
    assert fast[-1] == "early"
    ends.ways.up_bps = 5e6
    slow = stream(ends, 60, 60)
    assert slow[-1] == "late"
    ends.ways.up_bps = 50e6
    again = stream(ends, 120, 120)
    assert again[-1] == "early"
    assert changes(fast + slow + again) == 2
    assert ends.steering.switches == 2
    assert slow.index("late") <= 3
    for ticket in range(240):
        assert_right(ends, ticket)
    assert ends.measures.answers == 240


@pytest.mark.parametrize("every", [2, 3])
def test_a_link_that_comes_and_goes_does_not_make_it_come_and_go(every: int) -> None:
    ends = TwoEnds(Settings(in_flight=1, deadline_s=1.0))
    ends.meet()
    began = ends.now
    for start in range(0, 240, 2 * every):
        for half, mbit in enumerate((5, 50)):
            ends.ways.up_bps = mbit * 1e6
            stream(ends, start + half * every, every)
    assert ends.steering.switches <= 1 + (ends.now - began) / Adaptive().hold_s
    assert ends.steering.switches < 240 / every / 4
    assert len(ends.outcomes) == 240


def test_a_server_that_is_busy_gets_less_to_do() -> None:
    """4 ms of tail become 60 against 1 that becomes 15."""
    ends = TwoEnds(Settings(in_flight=1, deadline_s=1.0))
    ends.meet()
    assert stream(ends, 0, 30)[-1] == "early"
    ends.server_load = 15.0
    assert stream(ends, 30, 60)[-1] == "late"


def test_one_route_asks_for_no_reports_and_sends_no_probes() -> None:
    ends = TwoEnds(policy=Fixed("middle"))
    assert not ends.steering.chooses
    ends.meet()
    assert stream(ends, 0, 5) == ["middle"] * 5
    assert ends.session.counters.packets_sent == 2 + 5 * 10


def test_what_tells_the_bandwidth_where_one_packet_crosses_is_a_train_of_probes() -> None:
    slow = Ways(up_bps=4e6)
    ends = TwoEnds(Settings(in_flight=1, deadline_s=1.0), ways=slow)
    ends.meet()
    routes = stream(ends, 0, 20)
    assert routes[-1] == "late"
    bandwidth_bps = ends.steering.state.bandwidth_bps
    assert bandwidth_bps == pytest.approx(4e6, rel=0.05)
    sent = ends.session.counters.packets_sent
    ends.run(30.0)
    assert ends.session.counters.packets_sent <= sent + 8, "an idle device asks no more"


@pytest.mark.parametrize("loss", [0.1, 0.3])
def test_probes_that_are_lost_cost_no_measurement(loss: float) -> None:
    ends = TwoEnds(Settings(in_flight=1, deadline_s=1.0), ways=Ways(up_bps=4e6, loss=loss), seed=2)
    ends.meet()
    stream(ends, 0, 150)
    state = ends.steering.state
    assert state.bandwidth_bps == pytest.approx(4e6, rel=0.3)


def test_a_hello_asks_for_reports_where_there_is_something_to_choose() -> None:
    for policy, wants in ((None, True), (Fixed("early"), False)):
        ends = TwoEnds(policy=policy)
        (hello,) = ends.session.leave(0.0) or [None]
        if hello is None:
            ends.session.step(0.0)
            (hello,) = ends.session.leave(0.0)
        assert hello is not None
        said = Hello.read(bytes(hello.packet(0)))
        assert said is not None
        assert said.wants_reports == wants


@settings(max_examples=40, deadline=None)
@given(
    said=st.lists(
        st.tuples(
            st.sampled_from([Kind.REPORT, Kind.ECHO, Kind.NACK, Kind.ANSWER, Kind.PROBE]),
            st.integers(0, 3), st.integers(0, 3), st.sampled_from([0, 1, 10, 40]),
            st.binary(max_size=40),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_what_anybody_says_of_frames_and_probes_costs_no_frame(
    said: list[tuple[Kind, int, int, int, bytes]],
) -> None:
    ends = TwoEnds(Settings(in_flight=4))
    ends.meet()
    session = ends.number
    for ticket in range(3):
        ends.frame(ticket, ticket)
    ends.run(0.0205)
    for kind, frame, route, chunks, payload in said:
        header = Header(kind, session, SPLIT, frame, route, 0, chunks)
        if kind != Kind.ANSWER:
            ends.session.take(Datagrams.of(header, payload), ends.now)
    ends.run(1.0)
    for ticket in range(3):
        assert_right(ends, ticket)
    assert stream(ends, 3, 3)


def test_a_report_counts_once_and_for_its_own_frame() -> None:
    ends = TwoEnds(Settings(in_flight=4))
    ends.meet()
    session = ends.number
    ends.frame(0, 0)
    ends.run(0.002)
    report = Report(0.1, 2_000, 0.0, 0.004, 40, 40)
    known: dict[str, int] = {"session": session, "split": SPLIT}
    for other in (
        report_packet(report, frame=0, route=1, **known),
        report_packet(replace(report, chunks=41), frame=0, route=0, **known),
    ):
        ends.session.take(other, ends.now)
    assert ends.session.counters.malformed == 2
    before = ends.steering.state
    for frame in (0, 0, 7):
        ends.session.take(report_packet(report, frame=frame, route=0, **known), ends.now)
    assert ends.session.counters.duplicate == 2
    assert ends.steering.state != before


@pytest.mark.parametrize(
    ("asked", "policy"),
    [
        ((None, None, None), None),
        (("late", None, None), Fixed("late")),
        ((None, "adaptive(hold_s=1.0)", None), Adaptive(hold_s=1.0)),
        ((None, Adaptive(margin=0.3), None), Adaptive(margin=0.3)),
        ((None, None, "50ms"), Adaptive(within_s=0.05)),
        ((None, "adaptive(margin=0.2)", "50ms"), Adaptive(within_s=0.05, margin=0.2)),
    ],
)
def test_what_people_ask_for_is_a_policy(asked: tuple[Any, Any, Any], policy: Any) -> None:
    assert chosen_policy(*asked) == policy


def test_only_what_adapts_and_has_no_limit_is_told_of_one() -> None:
    assert keeping(None, 0.1) == Adaptive(within_s=0.1)
    assert keeping(Adaptive(hold_s=1.0), 0.1) == Adaptive(within_s=0.1, hold_s=1.0)
    assert keeping(Adaptive(within_s=0.2), 0.1) is None
    assert keeping(Fixed("late"), 0.1) is None


def test_what_makes_no_sense_is_named() -> None:
    for beside in (("adaptive", None), (None, "50ms")):
        with pytest.raises(UsageError, match="give --route alone"):
            chosen_policy("late", *beside)
    for policy in ('fixed(route="late")', "adaptive(within_s=0.1)"):
        with pytest.raises(UsageError, match="--within is nothing that '.*' can be told"):
            chosen_policy(None, policy, "50ms")
    with pytest.raises(UsageError, match="there is no route 'latest'"):
        Steering(REMOTES, Settings(), Fixed("latest"))
    with pytest.raises(UsageError, match="'soon' is no duration"):
        chosen_policy(None, None, "soon")
