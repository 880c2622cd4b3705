# SPDX-License-Identifier: Apache-2.0
"""Layers measured in compiled code, on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import splitc
from splitc.build.kernel_times import described
from splitc.build.part_job import PartJob, Site
from splitc.build.profile_here import profile
from splitc.cli.app import run
from splitc.cost.board import load_board
from splitc.cost.prices import BoardCost
from splitc.cost.profile import Profile, ProfileCost, read_profile
from splitc.errors import IllegalCutError, UsageError
from splitc.ir.segment import segments
from splitc.runtime.library import threads_in_use
from splitc_targets.backend import TvmBackend


@pytest.fixture(scope="module")
def measured(small_onnx: Path) -> Profile:
    return profile(small_onnx, rounds=5)


def test_every_layer_that_takes_time_has_one_and_kernels_give_all_of_theirs(
    measured: Profile, small_onnx: Path
) -> None:
    graph = splitc.load(small_onnx).graph
    timed = {layer.name for layer in graph.layers if not layer.is_input and layer.kind != "view"}
    assert set(measured.layers) == timed
    assert (measured.network, measured.figures) == ("small", "measured")
    assert sum(measured.layers.values()) == pytest.approx(sum(k.ms for k in measured.kernels))
    assert all(kernel.ms > 0 for kernel in measured.kernels)
    assert measured.whole is not None
    assert measured.whole.rounds >= 3
    assert measured.whole.ms > 0
    stem = next(kernel for kernel in measured.kernels if "stem" in kernel.layers)
    assert stem.layers == ("stem", "stem_relu")
    priced = ProfileCost(load_board("host"), measured).seconds(graph)
    assert sum(priced) * 1e3 == pytest.approx(sum(measured.layers.values()))


def test_timed_code_computes_the_same_and_its_clock_only_goes_on(small_onnx: Path) -> None:
    backend, board = TvmBackend(), load_board("host")
    lowered = backend.lower(splitc.load(small_onnx))
    plain = backend.compile(lowered, board)
    timed, calls = backend.compile_timed(lowered, board)
    x = np.random.default_rng(0).standard_normal((1, 3, 12, 12), np.float32)
    *results, times = timed.here()(x)
    np.testing.assert_array_equal(results, plain.here()(x))
    assert times.shape == (len(calls) + 1, 2)
    assert (np.diff(times @ np.array((10**9, 1))) >= 0).all()
    assert (times[0] > 0).any()
    assert {call.name for call in calls} <= {kernel.name for kernel in plain.kernels}


def test_a_layers_predicted_time_is_that_of_the_kernel_that_does_its_work(
    small_onnx: Path,
) -> None:
    network, backend, board = splitc.load(small_onnx), TvmBackend(), load_board("rpi4")
    (whole,) = segments(network.graph, [])
    job = PartJob(whole, Site("device", board, backend), network, "whole")
    made = backend.compile(backend.lower(network), board).kernels
    kernels = described(made, job)
    seconds = dict(zip(network.graph.index, BoardCost(board).seconds(network.graph), strict=True))
    assert sum(kernel.predicted_ms for kernel in kernels) == pytest.approx(
        sum(seconds.values()) * 1e3
    )
    (block,) = (k for k in kernels if k.rule.startswith("winograd"))
    assert block.layers == ("block_conv", "block_relu", "block_add")
    assert block.predicted_ms == pytest.approx(sum(seconds[name] for name in block.layers) * 1e3)
    assert next(k for k in kernels if k.rule == "prepare").predicted_ms == 0.0


def test_a_cut_ends_the_kernel_that_it_is_inside(small_onnx: Path) -> None:
    made = profile(small_onnx, rounds=3, cuts=["stem", "block_conv"])
    ends = [kernel.layers for kernel in made.kernels]
    assert ("stem",) in ends
    assert any(names[0] == "stem_relu" for names in ends)
    assert sum(made.layers.values()) == pytest.approx(sum(kernel.ms for kernel in made.kernels))


def test_what_cannot_be_measured_here_is_refused(small_onnx: Path, measured: Profile) -> None:
    with pytest.raises(UsageError, match="this machine runs no code for rpi4"):
        profile(small_onnx, target="rpi4")
    with pytest.raises(UsageError, match="2 rounds are too few"):
        profile(small_onnx, rounds=2)
    with pytest.raises(UsageError, match="did you mean|no layer 'blok_add'"):
        profile(small_onnx, cuts=["blok_add"])
    with pytest.raises(IllegalCutError, match="cannot follow the one after 'block_add'"):
        profile(small_onnx, cuts=["block_add", "stem"])
    running = threads_in_use()
    assert running is not None
    assert measured.whole is not None
    assert measured.whole.threads == running
    with pytest.raises(UsageError, match=f"this process cannot measure with {running + 1} threads"):
        profile(small_onnx, threads=running + 1)


def test_the_verb_writes_a_file_that_cuts_takes(
    small_onnx: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["profile", str(small_onnx), "--rounds", "3"]) == 0
    printed = capsys.readouterr()
    assert "the network run as it is" in printed.out
    assert "stem..stem_relu" in printed.out
    assert "measuring in 3 rounds" in printed.err
    table = printed.out.partition("\nNext: ")[0].splitlines()
    assert max(map(len, table)) <= 80
    made = read_profile("small.profile.json")
    assert (
        run(["cuts", str(small_onnx), "--target", "host", "--profile", "small.profile.json"]) == 0
    )
    assert f"measured on {made.machine}" in capsys.readouterr().out
    assert run(["profile", str(small_onnx), "--rounds", "3", "--json", "-o", "p.json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["file"] == "p.json"
    assert found["profile"] == json.loads(Path("p.json").read_text("utf-8"))
    assert found["kernels_ms"] == pytest.approx(sum(found["profile"]["layers"].values()))
