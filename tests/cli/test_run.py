# SPDX-License-Identifier: Apache-2.0
"""`splitc run` and `splitc bench`: a bundle in one process, on files, and how long it takes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.cli.app import run
from splitc.cli.schema import schema_of

Capture = pytest.CaptureFixture[str]


def some(*shape: int) -> Array:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def as_json(capsys: Capture, arguments: Sequence[str], *, code: int = 0) -> dict[str, Any]:
    assert run([*arguments, "--json"]) == code
    got = json.loads(capsys.readouterr().out)
    jsonschema.validate(got, schema_of(arguments[0]))
    return got


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Five frames along one more axis."""
    np.save(tmp_path / "x.npy", some(5, 1, 3, 12, 12))
    return tmp_path / "x.npy"


def test_results_of_several_frames_lie_along_one_more_axis(
    compiled: Bundle, frames: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "made" / "here"
    line = ["run", str(compiled.path), "--input", str(frames), "--out", str(out), "--repeat", "3"]
    got = as_json(capsys, line)
    expected = compiled.run(np.load(frames))["y"]
    np.testing.assert_array_equal(np.load(out / "0.npy"), expected)
    assert [path.name for path in out.iterdir()] == ["0.npy"]
    (result,) = got["outputs"]
    assert result == {"name": "y", "dtype": "float32", "shape": [5, 1, 10], "file": "0.npy"}
    assert got["parts"] == {"head": "host build of the rpi4 head", "tail": "host"}
    assert (got["frames"], got["times"]["calls"]) == (5, 14)


def test_one_frame_gives_results_of_the_networks_own_shape(
    compiled: Bundle, tmp_path: Path, capsys: Capture
) -> None:
    np.savez(tmp_path / "x.npz", x=some(1, 3, 12, 12))
    path = str(tmp_path / "x.npz")
    assert run(["run", str(compiled.path), "-i", path, "--out", str(tmp_path)]) == 0
    assert np.load(tmp_path / "0.npy").shape == (1, 10)
    printed = capsys.readouterr()
    assert "head ran as host build of the rpi4 head; tail ran as host" in printed.out
    assert "running 1 frame" in printed.err


def test_several_inputs_come_by_name_and_several_results_go_by_number(
    two_headed: Bundle, tmp_path: Path, capsys: Capture
) -> None:
    feed = {"a": some(3, 2, 4), "b": some(3, 2, 4)}
    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in" / "f.npz", a=feed["a"], b=feed["b"])
    got = as_json(
        capsys, ["run", str(two_headed.path), "-i", str(tmp_path / "in"), "--out", str(tmp_path)]
    )
    expected = two_headed.run(feed)
    assert [one["name"] for one in got["outputs"]] == list(expected) == ["early", "late"]
    for k, array in enumerate(expected.values()):
        np.testing.assert_array_equal(np.load(tmp_path / f"{k}.npy"), array)


def test_frames_with_labels_give_the_accuracy(
    compiled: Bundle, frames: Path, tmp_path: Path, capsys: Capture
) -> None:
    x: Array = np.load(frames)
    labels: Array = np.asarray(compiled.run(x)["y"].argmax(-1)[:, 0], np.int64)
    labels[4] = (labels[4] + 1) % 10
    np.save(tmp_path / "labels.npy", labels)
    line = ["run", str(compiled.path), "-i", str(frames)]
    assert as_json(capsys, line)["accuracy"] is None
    got = as_json(capsys, [*line, "--labels", str(tmp_path / "labels.npy"), "--repeat", "2"])
    assert got["accuracy"] == pytest.approx(0.8)
    np.savez(tmp_path / "both.npz", x=x, labels=labels)
    assert run(["run", str(compiled.path), "-i", str(tmp_path / "both.npz")]) == 0
    assert "accuracy: 80.00%" in capsys.readouterr().out
    np.save(tmp_path / "labels.npy", labels[1:])
    assert run([*line, "--labels", str(tmp_path / "labels.npy")]) == 2
    assert "labels do not fit" in capsys.readouterr().err


def test_what_cannot_be_run_says_why_and_how_it_went_wrong(
    bundle: Bundle, frames: Path, tmp_path: Path, capsys: Capture
) -> None:
    line = ["run", str(bundle.path), "--input"]
    assert run([*line, str(tmp_path / "no.npy")]) == 2
    assert run(["run", str(tmp_path / "no.splitc"), "-i", str(frames)]) == 2
    assert run([*line, str(frames), "--out", str(frames)]) == 2
    assert "choose another --out" in capsys.readouterr().err
    shutil.rmtree(bundle.path / "golden" / "head")
    manifest = json.loads((bundle.path / "manifest.json").read_text("utf-8"))
    files = {n: f for n, f in manifest["files"].items() if not n.startswith("golden/head/")}
    (bundle.path / "manifest.json").write_text(json.dumps({**manifest, "files": files}), "utf-8")
    for verb in ([*line, str(frames)], ["bench", str(bundle.path)]):
        assert run(verb) == 6
        assert "cannot start the head on this machine" in capsys.readouterr().err


def test_an_altered_part_is_refused_before_it_runs(
    bundle: Bundle, frames: Path, capsys: Capture
) -> None:
    (bundle.path / "tail" / "weights.bin").write_bytes(b"junk")
    for verb in (["run", str(bundle.path), "-i", str(frames)], ["bench", str(bundle.path)]):
        assert run(verb) == 3
        assert "'tail/weights.bin' was altered" in capsys.readouterr().err


def test_bench_tells_of_each_part_and_what_ran(compiled: Bundle, capsys: Capture) -> None:
    got = as_json(capsys, ["bench", str(compiled.path), "--seconds", "0.05"])
    assert got["parts"]["head"]["ran"] == "host build of the rpi4 head"
    rounds = got["route"]["calls"]
    for part in got["parts"].values():
        times = part["times"]
        assert times["calls"] == rounds >= 3
        assert 0 < times["median_ms"] <= times["p95_ms"] <= times["p99_ms"]
    assert got["threads"] >= 1
    assert got["resident_bytes"] > 0


def test_bench_fits_a_terminal_and_refuses_no_time(
    compiled: Bundle, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["bench", str(compiled.path), "--seconds", "0.01"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "head+tail" in printed
    assert "head ran as host build of the rpi4 head" in printed
    assert run(["bench", str(compiled.path), "--seconds", "0"]) == 2
    assert "no time to measure in" in capsys.readouterr().err


def test_parts_in_onnx_are_measured_too(small_onnx: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = str(tmp_path / "o.splitc")
    assert run(["compile", str(small_onnx), "--emit", "onnx", "-o", folder, "-q"]) == 0
    capsys.readouterr()
    got = as_json(capsys, ["bench", folder, "--seconds", "0.01"])
    assert got["parts"]["tail"]["ran"] == "onnxruntime on this machine"
