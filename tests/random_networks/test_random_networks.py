# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Random networks through splitc: right values or a refusal by name.

The same networks in every run; `benchmarks/random_networks.py` draws as many others as one likes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from splitc.errors import BadModelError, SplitcError, UnsupportedOpError
from tests.random_networks.differential import WAYS, Feed, bundled, off, outcome
from tests.random_networks.network import Network
from tests.random_networks.strategy import networks, seeded

SWEEP = settings(
    max_examples=40, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip


def feed_of(network: Network) -> Feed | None:
    """The network loaded; None where it is refused."""
    try:
        return Feed.of(network)
    except SplitcError as error:
        assert 2 <= error.exit_code <= 8, error
        return None


@pytest.mark.parametrize("way", WAYS)
@SWEEP
@given(networks())
def test_a_random_network_gives_its_right_values_or_is_refused_by_name(
    way: str, network: Network
) -> None:
    feed = feed_of(network)
    if feed is not None:
        try:
            WAYS[way](feed, network.seed)
        except UnsupportedOpError as error:
            assert "layer" in error.at, error
        except BadModelError as error:
            assert "tensor 't" in error.what, error
            assert error.why, error


def hold(head: str, folder: Path, count: int) -> None:
    """The first networks that can be cut and are not refused, as bundles."""
    for seed in range(100):
        try:
            count -= bundled(Feed.of(seeded(seed)), head, folder / str(seed), seed)
        except SplitcError as error:
            assert 2 <= error.exit_code <= 8, error
        if not count:
            return
    raise AssertionError("all were refused")


def test_random_networks_are_compiled_linked_and_run(tmp_path: Path) -> None:
    hold("host", tmp_path, 2)


@pytest.mark.parametrize("board", ["rpi4", "rpi5"])
def test_random_networks_run_on_an_emulated_board(board: str, tmp_path: Path, qemu: None) -> None:
    hold(board, tmp_path, 1)


def test_a_network_prints_as_the_lines_that_build_it() -> None:
    for seed in range(20):
        network = seeded(seed)
        names: dict[str, Network] = {}
        exec(repr(network), {"Network": Network}, names)
        assert names["n"].proto() == network.proto()
        for name, array in network.feed.items():
            np.testing.assert_array_equal(names["n"].feed[name], array)


def test_a_wrong_value_is_told_with_its_place() -> None:
    network = Network()
    network.outputs = [network.op("Relu", network.input("float32", (2, 3)))]
    feed = Feed.of(network)
    (want,) = feed.results.values()
    got = want.copy()
    got[1, 2] += 0.01
    told = off(got, want, (want, want))
    assert told.startswith("1 of 6 wrong") and told.endswith("[1, 2]")
    assert not off(want * 1.00001, want, (want, want))
    assert off(want.astype("float64"), want, (want, want)) == "float64[2, 3] for float32[2, 3]"
    assert outcome(lambda: 1 / 0)[0] == "crashed"
