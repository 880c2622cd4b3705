# SPDX-License-Identifier: Apache-2.0
"""Predicted cuts are scored as defined, and what is measured are the heads and tails of cuts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cut_list import SIDES, WHOLE, read_side
from cut_measuring import measure
from cut_parts import compile_parts, exact_cuts
from cut_quality import print_bars, print_scores, scenario
from cut_score import Option, PartError, Score, kendall_tau
from cut_side import Parts
from cut_times import Cuts, Times, calm_rounds

import splitc
from splitc.cost.topology import DEVICE, SERVER
from tests.helpers import small_network


@pytest.mark.parametrize(
    ("first", "second", "tau"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        # Of six pairs one is the other way round.
        ([1, 2, 3, 4], [1, 2, 4, 3], 4 / 6),
        # The example of scipy.stats.kendalltau's documentation, with ties in both.
        ([12, 2, 1, 12, 2], [1, 4, 7, 1, 0], -0.47140452079103173),
        ([1, 1, 1], [1, 2, 3], 0.0),
    ],
)
def test_tau_is_kendalls_b(first: list[float], second: list[float], tau: float) -> None:
    assert kendall_tau(first, second) == pytest.approx(tau)


def test_regret_is_what_the_chosen_cut_takes_longer_than_the_best() -> None:
    options = [
        Option("a", predicted_s=1.0, halves_s=(1.0, 1.2)),
        Option("b", predicted_s=1.1, halves_s=(0.9, 1.1)),
        Option("all on the server", predicted_s=3.0, halves_s=(5.0, 5.0)),
    ]
    score = Score.of("net", "wifi", options)
    assert (score.chosen, score.best) == ("a", "b")
    assert score.regret == pytest.approx(0.1)
    # Of three pairs a and b are predicted the other way round; both halves have them alike.
    assert score.tau == pytest.approx(1 / 3)
    assert score.tau_again == 1.0


def test_error_is_the_mean_of_parts_and_bias_the_middle_ratio() -> None:
    # The last takes less than a hundredth of the longest, and counts with that.
    error = PartError.of("net", DEVICE, [(1.1, 1.0), (0.7, 1.0), (3.0, 2.0), (0.001, 0.005)])
    assert error.parts == 4
    assert error.error == pytest.approx((0.1 + 0.3 + 0.5 + 0.2) / 4)
    assert error.bias == pytest.approx((0.7 + 1.1) / 2)


def test_a_cut_takes_its_slowed_head_its_tail_and_the_link() -> None:
    network = splitc.load(small_network())
    rows = exact_cuts(network)
    names = [row.cut.name for row in rows if row.kind == "single"]
    # Even and odd rounds have medians of their own; the fourth was disturbed on the server.
    rounds = {
        DEVICE: {WHOLE: [2.0, 2.1, 2.0, 2.1], **{name: [0.1] * 4 for name in names}},
        SERVER: {WHOLE: [0.5, 0.5, 0.5, 0.9], **{name: [0.2, 0.4, 0.2, 0.8] for name in names}},
    }
    before = {DEVICE: [2.0] * 4, SERVER: [0.5] * 4}
    cuts = Cuts.of("small", network, Times("small", "here", "", before, rounds))
    where = scenario("wifi", 8.0)
    costs = where.problem(network.graph).costs
    options = cuts.options(where, 8.0)
    assert [one.name for one in options] == [*names, "all on the device", "all on the server"]
    link_s = costs.of(rows[0].cut).link_s
    assert options[0].halves_s == pytest.approx((0.8 + link_s + 0.2, 0.8 + link_s + 0.4))
    assert options[0].predicted_s == costs.of(rows[0].cut).latency_s
    assert options[-2].measured_s == pytest.approx(8 * 2.05)
    assert options[-1].measured_s == pytest.approx(0.5 + costs.of(rows[-1].cut).link_s)
    assert [one.parts for one in cuts.errors(where, 8.0)] == [len(names) + 1] * 2
    # A chain with one shortcut: no cut across two tensors sends less than one across one.
    assert cuts.left_out(where) == 0.0


def test_the_worst_network_and_link_come_first_and_bars_are_judged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scores = [
        Score("squeezenet", "wifi", "a", "b", regret=0.02, tau=0.95, tau_again=0.98),
        Score("vgg19", "ethernet", "all on the server", "c", regret=0.2, tau=0.7, tau_again=0.98),
    ]
    print_scores(scores)
    figures = print_bars(scores, [PartError("vgg19", DEVICE, 3, error=0.1, bias=1.0)])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:3]] == ["vgg19", "squeezenet"]
    assert [line.rsplit(" ", 1)[1] for line in lines[3:]] == [
        "missed)", "missed)", "missed)", "0.98", "met)"
    ]  # fmt: skip
    assert figures["regret_median_percent"] == pytest.approx(11.0)
    assert figures["error_mean_percent"] == pytest.approx(10.0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All parts of the small network, compiled."""
    return compile_parts("small", splitc.load(small_network()), tmp_path_factory.mktemp("parts"))


def test_every_head_and_tail_in_one_library_computes_the_network(folders: dict[str, Path]) -> None:
    network = splitc.load(small_network())
    rows = [row for row in exact_cuts(network) if row.kind == "single"]
    parts = {side: Parts() for side in SIDES}
    for side, loaded in parts.items():
        loaded.load(str(folders[side]))
        names = [part.cut for part in read_side(folders[side]).parts]
        assert names == [*(row.cut.name for row in rows), WHOLE]
    feed = np.random.default_rng(1).standard_normal((1, 3, 12, 12), np.float32)
    (expected,) = network.run({"x": feed}).values()
    heads, tails = parts[DEVICE], parts[SERVER]
    for number, row in enumerate(rows):
        (crossing,) = heads.results(number, [feed])
        (result,) = tails.results(number, [crossing])
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6, err_msg=row.cut.name)
    made = {side: folder.stat().st_mtime_ns for side, folder in folders.items()}
    assert compile_parts("small", network, folders[DEVICE].parent) == folders
    assert {side: folder.stat().st_mtime_ns for side, folder in folders.items()} == made


def test_every_part_is_measured_round_after_round(folders: dict[str, Path]) -> None:
    kept: list[Times] = []
    measure("small", folders, rounds=2, minutes=0.02, keep=kept.append)
    times = kept[-1]
    for side, folder in folders.items():
        assert [*times.rounds[side]] == [part.cut for part in read_side(folder).parts]
        assert {len(seconds) for seconds in times.rounds[side].values()} == {
            len(times.before[side])
        }
        assert len(times.before[side]) >= 2
        assert min(min(seconds) for seconds in times.rounds[side].values()) > 0


def test_a_round_counts_where_the_whole_network_was_quick_before_it_and_behind() -> None:
    assert calm_rounds([1.0, 1.0, 2.0, 1.05], [1.0, 1.5, 1.0, 1.09]) == [0, 3]
    # Two at least: the least disturbed.
    assert calm_rounds([1.0, 3.0, 2.0], [2.0, 1.0, 1.9]) == [0, 2]
    assert calm_rounds([1.0], [1.0]) == [0]
    assert calm_rounds([], []) == []
