# SPDX-License-Identifier: Apache-2.0
"""Bundles in a simulation: their values, their times, their energy."""

from __future__ import annotations

import numpy as np
import pytest

from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.cost.board import boards
from splitc.errors import UsageError
from splitc.send.settings import Settings
from splitc.simulate import BundleParts, TwoWays, simulate
from splitc.simulate.parts import parse_times

LINK = TwoWays.of(bandwidth="9Mbit", rtt="10ms")
BAD = TwoWays.of("iid(0.3)", bandwidth="9Mbit", rtt="10ms")


def labels(bundle: Bundle, images: Array) -> list[int]:
    """What the bundle answers without a link."""
    with bundle.open_parts() as split:
        return [int(np.argmax(split(image)["y"])) for image in images]


def test_values_go_through_the_parts_and_losses_cost_answers(small: Bundle, images: Array) -> None:
    right = labels(small, images)
    frames = [{"x": image} for image in images]
    short = Settings(mtu=576)
    with BundleParts.open(small.path) as parts:
        good = simulate(parts, LINK, short, frames=48, inputs=frames, labels=right)
        lossy = simulate(parts, BAD, short, frames=240, inputs=frames, labels=right)
    assert good.accuracy == 1.0
    assert lossy.accuracy is not None
    assert 0.1 < lossy.accuracy < 1.0
    assert lossy.share == pytest.approx(0.7, abs=0.03)


def test_without_values_everything_takes_the_same_time(small: Bundle, images: Array) -> None:
    frames = [{"x": image} for image in images]
    with BundleParts.open(small.path) as parts:
        whole = simulate(parts, BAD, frames=60, inputs=frames, seed=3)
    with BundleParts.open(small.path, values=False) as parts:
        empty = simulate(parts, BAD, frames=60, seed=3)
    assert empty.accuracy is None
    assert [r.latency_s for r in empty.records] == [r.latency_s for r in whole.records]
    assert [r.share for r in empty.records] == [r.share for r in whole.records]


def test_times_and_energy_are_those_of_the_boards_that_it_was_compiled_for(small: Bundle) -> None:
    with BundleParts.open(small.path, values=False) as parts:
        found = simulate(parts, LINK, frames=10)
    predicted, board = small.manifest.route.predicted, boards()["rpi4"]
    head_s = predicted.site_ms["device"] / 1e3
    assert {record.head_s for record in found.records} == {head_s}
    sent_bits = (found.counters.bytes_sent + 28 * found.counters.packets_sent) * 8
    wanted_j = board.compute_power_w * head_s + board.transmit_power_w * sent_bits / 9e6 / 10
    assert found.energy_j == pytest.approx(wanted_j)
    assert found.figures == predicted.figures


def test_times_can_be_measured_here(small: Bundle, images: Array) -> None:
    with BundleParts.open(small.path, times="measured") as parts:
        took = parts.took[0]
        found = simulate(parts, LINK, frames=5, inputs=[{"x": images[0]}])
    assert 0 < took.head_s < 1 and 0 < took.tail_s < 1
    assert {record.head_s for record in found.records} == {took.head_s}
    assert "measured" in found.figures
    with BundleParts.open(small.path, values=False, times="measured") as parts:
        assert 0 < parts.took[0].tail_s < 1
        assert "measured" in simulate(parts, LINK, frames=5).figures


def test_what_makes_no_simulation_of_a_bundle_is_a_usage_error(small: Bundle) -> None:
    with pytest.raises(UsageError, match="there are no times 'guessed'"):
        parse_times("guessed")
    with (
        BundleParts.open(small.path) as parts,
        pytest.raises(UsageError, match="there are no inputs"),
    ):
        simulate(parts, LINK)
    with pytest.raises(UsageError, match="there is no bundle"):
        BundleParts.open(small.path / "nothing")
