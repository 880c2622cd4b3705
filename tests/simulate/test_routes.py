# SPDX-License-Identifier: Apache-2.0
"""A bundle with several routes in a simulation: values, times, and what chooses."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.cli.app import run
from splitc.link.link_trace import LinkTrace
from splitc.policy.adaptive import Adaptive
from splitc.policy.fixed import Fixed
from splitc.send.settings import Settings
from splitc.simulate import BundleParts, TwoWays, simulate

FALLING = LinkTrace([0.0, 4.0, 12.0], [50e6, 2e5, 50e6], [0.0, 0.0, 0.0])


def test_every_route_has_its_values_and_its_times(four_routes: Bundle, images: Array) -> None:
    frames = [{"x": image} for image in images]
    with four_routes.open_parts() as split:
        right = [int(np.argmax(split(image)["y"])) for image in images]
    link = TwoWays.of(bandwidth="9Mbit", rtt="4ms")
    with BundleParts.open(four_routes.path) as parts:
        for number, route in enumerate(four_routes.manifest.routes):
            found = simulate(
                parts, link, frames=len(frames), policy=Fixed(route.name), inputs=frames,
                labels=right,
            )  # fmt: skip
            assert found.routes == {route.name: len(frames)}
            assert {r.head_s for r in found.records} == {parts.took[number].head_s}
            assert found.accuracy is not None
            assert found.accuracy == 1.0 if route.codec is None else found.accuracy >= 0.9


def test_the_route_changes_with_the_link_and_no_frame_is_lost(four_routes: Bundle) -> None:
    settings = Settings(in_flight=1, deadline_s=0.5)
    with BundleParts.open(four_routes.path, values=False) as parts:
        found = simulate(
            parts, TwoWays.of(FALLING, rtt="4ms"), settings, frames=160, rate=10,
            policy=Adaptive(),
        )  # fmt: skip
    sent = {route.name: route.boundary_bytes for route in four_routes.manifest.routes}
    slow = [r for r in found.records if 6 <= r.began_s < 12]
    assert found.unanswered == 0
    assert {sent[record.route] for record in slow} == {min(sent.values())}
    assert [record.number for record in found.records] == list(range(160))


def test_routes_are_compared_with_what_chooses_among_them(
    four_routes: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--compare", "routes", "--frames", "20", "--rate", "20", "--json")
    assert run(["simulate", str(four_routes.path), *more]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    names = [route.name for route in four_routes.manifest.routes]
    assert [one["name"] for one in found["runs"]] == [*names, "adaptive"]
    for one in found["runs"][:-1]:
        assert (one["routes"], one["switches"]) == ({one["name"]: 20}, 0)
    assert sum(found["runs"][-1]["routes"].values()) == 20
