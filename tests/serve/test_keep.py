# SPDX-License-Identifier: Apache-2.0
"""Results that are wanted at the server: they stay there, and the device hears that they do."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import splitc
from splitc.arrays import Arrays
from splitc.bundle.bundle import Bundle
from splitc.cli.app import run
from splitc.errors import BadBundleError, IllegalCutError, OutputError, UsageError
from splitc.runtime.manifest import write_manifest
from splitc.send.device import Device
from splitc.serve.keep import Folder, Kept
from splitc.serve.server import Server

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def stays(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The small network, its results wanted at the server; the head for this machine."""
    return splitc.compile(
        small_onnx, cut="block_add", head="host", results="server", name="small",
        output=tmp_path_factory.mktemp("stays") / "small.splitc",
    )  # fmt: skip


@pytest.fixture
def frames() -> list[Arrays]:
    random = np.random.default_rng(7)
    return [{"x": random.standard_normal((1, 3, 12, 12)).astype(np.float32)} for _ in range(4)]


def expected(bundle: Bundle, frame: Arrays) -> Any:
    return bundle.run(frame)["y"]


def test_the_manifest_says_that_no_result_comes_back(stays: Bundle, small: Bundle) -> None:
    assert (stays.manifest.results, small.manifest.results) == ("server", "device")
    (remote,) = stays.part("head").remote
    assert (remote.results, remote.outputs) == ((), ())
    assert [spec.name for spec in stays.manifest.source.outputs] == ["y"]
    stays.check()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_results_stay_at_the_server_and_frames_are_answered_without(
    transport: str, stays: Bundle, frames: list[Arrays]
) -> None:
    kept: list[Kept] = []
    with (
        Server([stays.path], keep=kept.append) as server,
        Device(stays.path, str(server.address), transport=transport) as device,
    ):
        answers = [device(frame) for frame in frames]
    assert [(one.origin, one.results) for one in answers] == [("server", {})] * 4
    assert [(one.tail, one.frame, one.share) for one in kept] == [
        ("small", number, 1.0) for number in range(4)
    ]
    for one, frame in zip(kept, frames, strict=True):
        np.testing.assert_allclose(one.results["y"], expected(stays, frame), rtol=1e-4, atol=1e-6)


def test_results_that_come_back_can_be_kept_too(
    small: Bundle, frames: list[Arrays], tmp_path: Path
) -> None:
    with (
        Server([small.path], keep=Folder(tmp_path)) as server,
        Device(small.path, str(server.address)) as device,
    ):
        answers = [device(frame) for frame in frames]
    files = sorted((tmp_path / "small").iterdir())
    assert [path.name[-12:] for path in files] == [f"{k:08d}.npz" for k in range(4)]
    for path, one in zip(files, answers, strict=True):
        with np.load(path, allow_pickle=False) as found:
            np.testing.assert_array_equal(found["y"], one["y"])


def test_the_runner_of_a_head_is_answered_without_results_too(
    stays: Bundle, frames: list[Arrays], tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.stack([frame["x"] for frame in frames]))
    kept: list[Kept] = []
    with Server([stays.path], keep=kept.append) as server:
        done = subprocess.run(
            [str(stays.path / "head" / "splitc-run"), "--send", str(server.address),
             "--out", str(tmp_path), str(tmp_path / "x.npy")],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["outputs"], report["frames"]) == ([], 4)
    assert sorted(one.frame for one in kept) == [0, 1, 2, 3]
    assert not (tmp_path / "0.npy").exists()


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A place that no folder can be made in."""
    (tmp_path / "file").touch()
    yield tmp_path / "file" / "kept"


def test_a_result_that_cannot_be_kept_is_told_to_the_device(
    stays: Bundle, frames: list[Arrays], full: Path
) -> None:
    with (
        Server([stays.path], keep=Folder(full)) as server,
        Device(stays.path, str(server.address)) as device,
    ):
        found = device(frames[0])
    assert found.origin == "nobody"
    assert "cannot keep results" in str(found.why_not)
    with pytest.raises(OutputError, match="cannot keep results"):
        Folder(full)(Kept("small", 1, 0, 1.0, {"y": np.zeros(3)}))


def test_what_makes_no_sense_with_results_elsewhere_is_refused(
    stays: Bundle, small_onnx: Path, frames: list[Arrays], tmp_path: Path, capsys: Capture
) -> None:
    with pytest.raises(UsageError, match="when-silent last, and results are wanted at the server"):
        Device(stays.path, "127.0.0.1:1", when_silent="last")
    np.save(tmp_path / "x.npy", frames[0]["x"])
    given = ["send", str(stays.path), "--to", "127.0.0.1:1", "--input", str(tmp_path / "x.npy")]
    assert run([*given, "--out", str(tmp_path / "out")]) == 2
    assert "no results come back to the device" in capsys.readouterr().err
    with pytest.raises(IllegalCutError, match="the device makes 'y'"):
        splitc.compile(small_onnx, cut="device", emit="onnx", results="server", output=tmp_path)


def test_a_part_that_asks_for_results_all_the_same_is_refused(
    stays: Bundle, small: Bundle, tmp_path: Path
) -> None:
    shutil.copytree(small.path, tmp_path / "small.splitc")
    bundle = Bundle.open(tmp_path / "small.splitc")
    write_manifest(bundle.path, msgspec.structs.replace(bundle.manifest, results="server"))
    with pytest.raises(BadBundleError, match="disagree about route"):
        Bundle.open(bundle.path).check()
