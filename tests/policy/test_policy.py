# SPDX-License-Identifier: Apache-2.0
"""Policies: which route they name, when they change it, and that they keep to the bundle's."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitc.errors import BadBundleError, UsageError
from splitc.link.packets import OVERHEAD_BYTES
from splitc.policy import Adaptive, Fixed, Gauge, LinkState, Option, Policy, Report
from splitc.runtime.manifest import Expected, Missing, Remote, TensorSpec

GOLDEN = Path(__file__).with_name("golden.json")

EARLY = Option("early", 0.005, 80_000, 50, 0.001)
LATE = Option("late", 0.030, 8_000, 6, 0.0005)
EARLY_8 = Option("early:8bit", 0.0052, 20_000, 13, 0.0011, agreement=0.99)
EARLY_4 = Option("early:4bit", 0.0052, 10_000, 7, 0.0011, agreement=0.9)
ALL = (EARLY, EARLY_8, EARLY_4, LATE)

loads = st.floats(0.25, 20)
states = st.builds(
    LinkState,
    bandwidth_bps=st.none() | st.floats(1e4, 1e10),
    loss_rate=st.floats(0, 1),
    rtt_s=st.none() | st.floats(0, 1),
    head_load=loads,
    tail_load=loads,
    wait_s=st.floats(0, 1),
)
several = st.lists(
    st.builds(
        Option,
        name=st.text("abc:/48", min_size=1, max_size=5),
        head_s=st.floats(0, 1),
        sent_bytes=st.integers(1, 10**7),
        packets=st.integers(1, 5000),
        tail_s=st.floats(0, 1),
        link_s=st.floats(0, 1),
        agreement=st.floats(0, 1),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda option: option.name,
)
histories = st.lists(st.tuples(states, st.floats(0, 2)), max_size=30)
policies = st.builds(
    Adaptive,
    within_s=st.none() | st.floats(1e-3, 1),
    margin=st.floats(0, 0.9),
    hold_s=st.floats(0, 3),
    agreement=st.floats(0, 1),
)


def chosen(policy: Policy, options: Sequence[Option], history: Any) -> list[str]:
    """The routes that a policy picks, frame by frame: states, and seconds since the last one."""
    chooser, now, found = policy.start(options), 0.0, list[str]()
    for state, later_s in history:
        now += later_s
        found.append(chooser.route(state, now))
    return found


@given(policies, several, histories)
def test_it_names_routes_that_there_are_and_the_same_for_the_same_history(
    policy: Adaptive, options: list[Option], history: Any
) -> None:
    found = chosen(policy, options, history)
    assert {*found} <= {option.name for option in options}
    assert chosen(policy, options, history) == found


@given(several, states, st.floats(1e-3, 1))
def test_the_route_it_settles_on_is_the_one_that_the_limit_asks_for(
    options: list[Option], state: LinkState, within_s: float
) -> None:
    def took(option: Option) -> float:
        if state.bandwidth_bps is None:
            return option.head_s + option.link_s + option.tail_s
        sent_s = option.sent_bytes * 8 / state.bandwidth_bps
        there_s = option.head_s * state.head_load + option.tail_s * state.tail_load
        return there_s + sent_s + (state.rtt_s or 0) + state.wait_s

    by_name = {option.name: option for option in options}
    free = Adaptive(margin=0, hold_s=0, agreement=0)
    found = by_name[chosen(free, options, [(state, 1.0)] * 3)[-1]]
    assert took(found) == pytest.approx(min(map(took, options)))
    exact = [option for option in options if option.agreement >= 0.9]
    exact = exact or [o for o in options if o.agreement == max(p.agreement for p in options)]
    near = Adaptive(margin=0, hold_s=0, agreement=0.9)
    found = by_name[chosen(near, options, [(state, 1.0)] * 3)[-1]]
    assert found in exact
    assert took(found) == pytest.approx(min(map(took, exact)))
    bound = Adaptive(within_s=within_s, margin=0, hold_s=0)
    found = by_name[chosen(bound, options, [(state, 1.0)] * 3)[-1]]
    within = [option for option in options if took(option) <= within_s]
    if within:
        most = max(option.agreement for option in within)
        assert found.agreement == most
        assert took(found) <= within_s
    else:
        assert took(found) == pytest.approx(min(map(took, options)))


class Decided(NamedTuple):
    """What is known and decided at one frame of a history."""

    state: LinkState
    wants_probe: bool
    route: str


def decided(
    policy: Policy, options: Sequence[Option], loses: bool, events: Sequence[Any]
) -> list[Decided]:
    """What a policy decides in a history of measurements."""
    gauge, chooser = Gauge(options, loses=loses), policy.start(options)
    found: list[Decided] = []
    for event in events:
        match event:
            case ["head", route, seconds]:
                gauge.head(route, seconds)
            case ["report", route, now, *rest]:
                gauge.report(route, Report(*rest), now)
            case ["answered", link_tail_s, *rest]:
                gauge.answered(Report(*rest), link_tail_s)
            case ["bandwidth", bps, now]:
                gauge.bandwidth(bps, now)
            case ["route", now, *_]:
                state = gauge.state()
                found.append(Decided(state, gauge.wants_probe(now), chooser.route(state, now)))
            case _:
                pytest.fail(f"unknown event {event}")
    return found


def at(mbit: float) -> LinkState:
    return LinkState(bandwidth_bps=mbit * 1e6, rtt_s=0.002)


def test_a_slower_link_moves_the_cut_at_once_and_a_quicker_one_after_a_while() -> None:
    routes = (EARLY, LATE)
    history = [(at(50), 0.03)] * 40 + [(at(10), 0.03)] * 40 + [(at(50), 0.03)] * 40
    found = chosen(Adaptive(hold_s=0.5), routes, history)
    assert found[:40] == ["early"] * 40
    assert found[40:80] == ["late"] * 40
    back = found[80:].index("early")
    assert 0.5 <= back * 0.03 + 1e-9 < 0.5 + 0.06
    assert found[80 + back :] == ["early"] * (40 - back)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_link_that_comes_and_goes_does_not_make_it_flap(every: int) -> None:
    routes = (EARLY, LATE)
    history = [(at(50 if k // every % 2 == 0 else 10), 0.03) for k in range(600)]
    found = chosen(Adaptive(hold_s=0.5), routes, history)
    changes = sum(a != b for a, b in pairwise(found))
    assert changes == 1


def test_a_link_that_comes_and_goes_for_longer_is_left_alone_more_and_more() -> None:
    routes = (EARLY, LATE)
    history = [(at(50 if k // 50 % 2 == 0 else 10), 0.03) for k in range(4000)]
    found = chosen(Adaptive(hold_s=0.5), routes, history)
    rises = [k * 0.03 for k, (a, b) in enumerate(pairwise(found)) if (a, b) == ("late", "early")]
    assert 2 <= len(rises) < 5
    # When it stays, so does the route, and soon the device is as quick as before.
    calm = [(at(50), 0.03)] * 1000 + [(at(10), 0.03)] * 300 + [(at(50), 0.03)] * 300
    found = chosen(Adaptive(hold_s=0.5), routes, history + calm)[4000:]
    assert found[999] == "early"
    assert found[1299] == "late"
    assert found[1300:].index("early") * 0.03 < 0.6


def test_bits_are_given_up_before_the_limit_and_before_the_cut() -> None:
    policy = Adaptive(within_s=0.030, hold_s=0.1)
    assert chosen(policy, ALL, [(at(100), 1.0)] * 3)[-1] == "early"
    assert chosen(policy, ALL, [(at(10), 1.0)] * 3)[-1] == "early:8bit"
    assert chosen(policy, ALL, [(at(5), 1.0)] * 3)[-1] == "early:4bit"
    history = [(at(5), 1.0)] * 3 + [(at(100), 1.0)] * 3
    assert chosen(policy, ALL, history)[-1] == "early"


def test_without_a_limit_no_answers_are_given_up_for_speed() -> None:
    slow = [(at(2), 1.0)] * 3
    assert chosen(Adaptive(), (EARLY, EARLY_8, EARLY_4), slow)[-1] == "early:8bit"
    assert chosen(Adaptive(agreement=1.0), (EARLY, EARLY_8, EARLY_4), slow)[-1] == "early"
    assert chosen(Adaptive(agreement=0.5), (EARLY, EARLY_8, EARLY_4), slow)[-1] == "early:4bit"
    assert chosen(Adaptive(), (EARLY_4,), slow)[-1] == "early:4bit"


def test_a_loaded_device_sends_earlier_and_a_loaded_server_later() -> None:
    both = (EARLY, LATE)
    calm, busy = at(16), LinkState(16e6, rtt_s=0.002, head_load=3.0)
    assert chosen(Adaptive(), both, [(calm, 1.0)] * 3)[-1] == "late"
    assert chosen(Adaptive(), both, [(calm, 1.0), (busy, 1.0), (busy, 1.0)])[-1] == "early"
    quick, slow = at(50), LinkState(50e6, rtt_s=0.002, tail_load=60.0)
    assert chosen(Adaptive(), both, [(quick, 1.0), (slow, 1.0)])[-1] == "late"


def test_before_anything_is_measured_it_takes_what_was_expected_to_be_the_best() -> None:
    slow = [Option("a", 0.1, 10, 1, 0.0, link_s=0.2), Option("b", 0.05, 10**6, 700, 0.1, 0.01)]
    assert chosen(Adaptive(), slow, [(LinkState(), 0.0)]) == ["b"]


def test_a_fixed_route_stays_and_one_that_there_is_not_is_named() -> None:
    assert chosen(Fixed("late"), ALL, [(at(1000), 1.0)] * 3) == ["late"] * 3
    with pytest.raises(UsageError, match="there is no route 'lat'") as caught:
        Fixed("lat").start(ALL)
    assert "early:8bit" in caught.value.hint


def test_policies_are_text() -> None:
    assert Policy.parse("adaptive") == Adaptive()
    assert Policy.parse("adaptive(within_s=0.05)") == Adaptive(within_s=0.05)
    assert Policy.parse(str(Adaptive(hold_s=2.0))) == Adaptive(hold_s=2.0)
    assert Policy.parse('fixed(route="late")') == Fixed("late")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("adaptiv", "there is no 'adaptiv'"),
        ("adaptive(hold=1)", "no option 'hold'"),
        ("adaptive(margin=1.5)", "margin 1.5 is not in"),
        ("adaptive(within_s=0)", "within_s 0 is not above 0"),
        ("adaptive(hold_s=-1)", "hold_s -1 is below 0"),
        ("adaptive(agreement=1.01)", "agreement 1.01 is not in"),
        ("fixed", "needs the option 'route'"),
        ("", "is not one policy"),
        ("fixed(route=3)", "option 'route'"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Policy.parse(text)


def spec(name: str, *shape: int, dtype: str = "float32") -> TensorSpec:
    nbytes = math.prod(shape) * {"float32": 4, "uint8": 1}[dtype]
    return TensorSpec(name=name, dtype=dtype, shape=shape, bytes=nbytes)


def test_an_option_counts_the_packets_that_the_wire_sends() -> None:
    from splitc.wire.boundary import Boundary

    crosses = (spec("a", 1, 16, 32, 32), spec("b", 1, 1001, dtype="uint8"))
    rules = (Missing(), Missing(scale="none", unit=3))
    remote = Remote(
        route=0, name="cut", crosses=crosses, results=(), outputs=(), missing=rules,
        expected=Expected(head_ms=10, tail_ms=2, link_ms=3, agreement=0.5),
    )  # fmt: skip
    option = Option.of(remote, 1404)
    sent = Boundary(crosses, 1404, 7, rules)
    assert option.packets == sent.chunks
    assert option.sent_bytes == 65_536 + 1001 + option.packets * OVERHEAD_BYTES
    assert (option.head_s, option.tail_s, option.agreement) == (0.01, 0.002, 0.5)
    assert option.expected_s == pytest.approx(0.015)


def report(mbit: float, option: Option, came: int | None = None, tail_s: float = 0.001) -> Report:
    nbytes = option.sent_bytes * (option.packets - 1) // option.packets
    came = option.packets if came is None else came
    return Report(nbytes * 8 / (mbit * 1e6), nbytes, 0.0, tail_s, came, option.packets)


def test_the_gauge_tells_bandwidth_loss_and_load_from_what_frames_say() -> None:
    gauge = Gauge(ALL)
    assert gauge.state() == LinkState()
    assert gauge.wants_probe(0.0)
    for k in range(5):
        gauge.head("early", 0.010)
        gauge.report("early", report(20, EARLY, came=40, tail_s=0.003), k * 0.03)
    state = gauge.state()
    assert state.bandwidth_bps == pytest.approx(20e6)
    assert state.loss_rate == pytest.approx(0.2)
    assert state.head_load == pytest.approx(2)
    assert state.tail_load == pytest.approx(3)
    assert not gauge.wants_probe(0.3)
    assert gauge.wants_probe(5.0)


def test_a_short_frame_that_was_held_up_changes_nothing_and_two_do() -> None:
    gauge = Gauge(ALL)
    for k in range(5):
        gauge.report("early:8bit", report(50, EARLY_8), float(k))
    gauge.report("early:8bit", report(10, EARLY_8), 6.0)
    assert gauge.state().bandwidth_bps == pytest.approx(50e6)
    gauge.report("early:8bit", report(10, EARLY_8), 7.0)
    assert gauge.state().bandwidth_bps == pytest.approx(10e6)


def test_a_frame_whose_packets_take_long_is_believed_at_once() -> None:
    gauge = Gauge(ALL)
    for k in range(5):
        gauge.report("early", report(50, EARLY), float(k))
    gauge.report("early", report(10, EARLY), 6.0)
    assert gauge.state().bandwidth_bps == pytest.approx(10e6)
    assert not gauge.wants_probe(6.0)


def test_a_bandwidth_that_disagrees_is_asked_for_again_at_once() -> None:
    gauge = Gauge(ALL)
    gauge.bandwidth(10e6, 1.0)
    gauge.bandwidth(11e6, 1.1)
    assert not gauge.wants_probe(1.1)
    gauge.bandwidth(50e6, 1.6)
    assert gauge.wants_probe(1.6)
    gauge.bandwidth(50e6, 1.7)
    assert gauge.state().bandwidth_bps == 50e6
    gauge.bandwidth(50e6, 1.8)
    assert not gauge.wants_probe(1.8)


def test_a_few_packets_tell_no_bandwidth_and_packets_at_once_a_high_one() -> None:
    gauge = Gauge(ALL)
    gauge.report("late", report(50, LATE), 1.0)
    assert gauge.state().bandwidth_bps is None
    gauge.report("early", Report(0.0, 78_000, 0.0, 0.001, 50, 50), 1.0)
    bandwidth_bps = gauge.state().bandwidth_bps
    assert bandwidth_bps is not None
    assert 1e9 < bandwidth_bps < 1e11


def test_a_round_trip_is_what_is_left_of_the_quickest_answer() -> None:
    gauge = Gauge(ALL)
    one = Report(0.010, 70_000, 0.002, 0.003, 50, 50)
    gauge.answered(one, 0.040)
    gauge.answered(one, 0.019)
    gauge.answered(one, 0.030)
    gauge.answered(Report(0.010, 70_000, 0.002, 0.003, 49, 50), 0.016)
    assert gauge.state().rtt_s == pytest.approx(0.004)


def test_packets_that_are_sent_again_tell_no_loss() -> None:
    gauge = Gauge(ALL, loses=False)
    gauge.report("early", report(20, EARLY, came=40), 0.0)
    assert gauge.state().loss_rate == 0.0


@pytest.mark.parametrize("number", range(len(json.loads(GOLDEN.read_text("utf-8"))["histories"])))
def test_recorded_histories_give_the_recorded_decisions(number: int) -> None:
    golden = json.loads(GOLDEN.read_text("utf-8"))["histories"][number]
    options = [Option(**option) for option in golden["options"]]
    policy = Policy.parse(golden["policy"])
    found = decided(policy, options, golden["loses"], golden["events"])
    wanted = [event[2:] for event in golden["events"] if event[0] == "route"]
    assert [[one.wants_probe, one.route] for one in found] == wanted


@pytest.mark.parametrize(
    ("nbytes", "unit", "shape"), [(0, 1, (4, 2)), (-8, 1, (4, 2)), (32, 0, (4, 2)), (32, 1, (-8,))]
)
def test_what_cannot_be_cut_into_packets_is_a_bad_bundle(
    nbytes: int, unit: int, shape: tuple[int, ...]
) -> None:
    crosses = (TensorSpec(name="t", dtype="float32", shape=shape, bytes=nbytes),)
    rules = (Missing(unit=unit),)
    remote = Remote(route=0, name="cut", crosses=crosses, results=(), outputs=(), missing=rules)
    with pytest.raises(BadBundleError, match="'t' cannot be sent"):
        Option.of(remote, 1404)
