# SPDX-License-Identifier: Apache-2.0
"""The runner's policy against the Python one: equal measurements, equal decisions."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitc.link.measured import train_bandwidth
from splitc.policy import Adaptive, LinkState, Option, Policy
from splitc.search.plan_file import (
    Condition,
    PlanFile,
    PlanLink,
    PlanModel,
    PlanRoute,
    write_plan,
)
from tests.policy.make_golden import history
from tests.policy.test_policy import ALL, EARLY, GOLDEN, LATE, Decided, decided
from tests.targets.runner.probe import Probe

_ONE = struct.Struct("<6d?B")


def by_runner(
    probe: Probe, policy: Adaptive, options: Sequence[Option], loses: bool, events: Sequence[Any],
    plan: Sequence[Condition] = (),
) -> list[Decided]:  # fmt: skip
    """What the runner decides in a history."""
    places = {option.name: place for place, option in enumerate(options)}
    lines = [" ".join(["option", *map(repr, astuple(option)[1:])]) for option in options]
    lines += [f"point {one.cpu!r} {one.bandwidth_bps!r} {places[one.route]}" for one in plan]
    for kind, *rest in events:
        values = [places.get(value, value) if isinstance(value, str) else value for value in rest]
        lines.append(" ".join([kind, *map(repr, values)]))
    within_s = -1.0 if policy.within_s is None else policy.within_s
    words = f"policy {int(loses)} {within_s!r} {policy.margin!r} {policy.hold_s!r}"
    words += f" {policy.agreement!r}"
    found: list[Decided] = []
    for bps, lost, rtt_s, head, tail, wait_s, wants, place in _ONE.iter_unpack(
        probe.ask(words, "\n".join(lines).encode())
    ):
        known = (None if bps < 0 else bps, lost, None if rtt_s < 0 else rtt_s, head, tail, wait_s)
        found.append(Decided(LinkState(*known), wants, options[int(place)].name))
    return found


def test_recorded_histories_give_the_recorded_decisions(probe: Probe) -> None:
    for golden in json.loads(GOLDEN.read_text("utf-8"))["histories"]:
        policy = Policy.parse(golden["policy"])
        if not isinstance(policy, Adaptive):
            continue  # The runner's fixed routes are no policy: they are turns of one.
        options = [Option(**option) for option in golden["options"]]
        found = by_runner(probe, policy, options, golden["loses"], golden["events"])
        wanted = [event[2:] for event in golden["events"] if event[0] == "route"]
        assert [[one.wants_probe, one.route] for one in found] == wanted


@pytest.mark.parametrize("text", ["adaptive", "adaptive(within_s=0.02, margin=0.05, hold_s=0.1)"])
@pytest.mark.parametrize("loses", [True, False])
def test_measurements_are_the_same_doubles(probe: Probe, text: str, loses: bool) -> None:
    for seed in range(10, 15):
        for options in ((EARLY, LATE), ALL):
            events = history(text, options, loses, seed)["events"]
            policy = Policy.parse(text)
            assert isinstance(policy, Adaptive)
            found = by_runner(probe, policy, options, loses, events)
            assert found == decided(policy, options, loses, events)


def test_a_plan_is_followed_alike(probe: Probe, tmp_path: Path) -> None:
    draw = random.Random(3)
    names = [option.name for option in ALL]
    conditions = tuple(
        Condition(cpu, memory, mbit * 1e6, draw.choice(names), dict.fromkeys(names, 0.1))
        for cpu in (0.0, 0.3, 0.6) for memory in (0.25, 0.5) for mbit in (1.0, 5.0, 20.0, 80.0)
    )  # fmt: skip
    routes = tuple(PlanRoute(name, ("layer",), 10) for name in names)
    model, link = PlanModel("m", "0" * 64), PlanLink()
    write_plan(
        tmp_path / "plan.json",
        PlanFile(1, model, "rpi4", "x86-64-v3", link, "predicted", routes, conditions),
    )
    least = [one for one in conditions if one.memory == 0.25]
    policy = Policy.parse(str(tmp_path / "plan.json"))
    for seed in range(3):
        events = history("adaptive", ALL, True, seed)["events"]
        found = by_runner(probe, Adaptive(), ALL, True, events, least)
        assert found == decided(policy, ALL, True, events)
        assert len({one.route for one in found}) > 1


seconds = st.floats(0, 2)
sizes = st.integers(0, 10**6)
reports = st.tuples(seconds, sizes, seconds, seconds, st.integers(0, 60), st.integers(60, 70))


@given(st.data())
def test_histories_of_all_kinds_are_decided_alike(probe: Probe, data: st.DataObject) -> None:
    options = [
        Option(f"r{k}", *data.draw(st.tuples(seconds, sizes, st.just(5), seconds, seconds)), share)
        for k, share in enumerate(
            data.draw(st.lists(st.sampled_from((0.9, 0.99, 1.0)), min_size=1, max_size=5))
        )
    ]
    names = st.sampled_from([option.name for option in options])
    now, events = 0.0, list[Any]()
    for later_s, route, report, bps in data.draw(
        st.lists(st.tuples(st.floats(0, 1), names, reports, st.floats(1e3, 1e10)), max_size=25)
    ):
        now += later_s
        events.append(["head", route, report[0]])
        events.append(["report", route, now, *report])
        events.append(["answered", report[2], *report])
        if report[1] % 3 == 0:
            events.append(["bandwidth", bps, now])
        events.append(["route", now])
    limits = st.none() | st.floats(1e-3, 3)
    policy = Adaptive(data.draw(limits), data.draw(st.floats(0, 0.9)), data.draw(st.floats(0, 2)))
    found = by_runner(probe, policy, options, True, events)
    assert found == decided(policy, options, True, events)


@given(
    st.lists(st.none() | st.integers(0, 30_000), min_size=1, max_size=12),
    st.booleans(),
)
def test_trains_tell_the_bandwidth_that_they_tell_python(
    probe: Probe, arrivals_us: list[int | None], in_order: bool
) -> None:
    times = np.array([np.nan if us is None else us * 1e-6 for us in arrivals_us])
    if in_order:
        times[~np.isnan(times)] = np.sort(times[~np.isnan(times)])
    found = probe.ask("train 1500", times.tobytes())
    wanted = train_bandwidth(times, 1500)
    if wanted is None:
        assert found == b""
    else:
        assert struct.unpack("<d", found)[0] == pytest.approx(wanted)
