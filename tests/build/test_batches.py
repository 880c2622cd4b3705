# SPDX-License-Identifier: Apache-2.0
"""Tails for several frames a call, and the whole network for the device."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import splitc
from splitc.arrays import Array
from splitc.bundle.bundle import Bundle, require
from splitc.cli.app import run
from splitc.errors import BadBundleError, BadModelError, UsageError
from splitc.runtime.part import load_part
from tests.bundle.test_bundle import edit, rehash
from tests.helpers import model_of, save

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def several(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The small network with tails for 1, 2 and 4 frames, and whole for the device. Read only."""
    return splitc.compile(
        small_onnx, cut="block_add", head="rpi4", batch_sizes=(1, 2, 4), with_whole=True,
        output=tmp_path_factory.mktemp("several") / "small.splitc",
    )  # fmt: skip


def frames(count: int, seed: int = 3) -> Array:
    """What crosses, channels-last as the code has it."""
    return np.random.default_rng(seed).standard_normal((count, 12, 12, 8)).astype(np.float32)


def test_a_tail_for_several_frames_gives_what_the_frames_give_one_by_one(several: Bundle) -> None:
    parts = several.manifest.batched("tail")
    assert parts == {1: "tail", 2: "tail-x2", 4: "tail-x4"}
    given = frames(4)
    with load_part(several.path / "tail") as tail:
        alone = np.concatenate([tail.run([one[None]])[0] for one in given])
    for batch, name in parts.items():
        with load_part(several.path / name) as part:
            (spec,) = part.contract.inputs
            assert spec.shape == (batch, 12, 12, 8)
            (found,) = part.run([given[:batch]])
        np.testing.assert_allclose(found, alone[:batch], rtol=1e-5, atol=1e-6)


def test_the_whole_network_gives_what_head_and_tail_give(several: Bundle) -> None:
    entry = several.manifest.parts["whole"]
    assert (entry.site, entry.target, entry.batch) == ("device", "rpi4", 1)
    assert several.part("whole").remote == ()
    x = np.random.default_rng(5).standard_normal((1, 3, 12, 12)).astype(np.float32)
    with load_part(several.path / "golden" / "whole") as whole:
        (found,) = whole.run([x])
    np.testing.assert_allclose(found, several.run(x)["y"], rtol=1e-5, atol=1e-6)


def test_verify_covers_every_part(several: Bundle) -> None:
    found = several.verify()
    require(found)
    assert found.others.keys() == {"tail-x2", "tail-x4", "whole"}
    assert all(len(each) == 1 for each in found.others.values())
    assert found.ran["whole"].how == "host build of the rpi4 whole"


def test_a_part_for_several_frames_that_is_wrong_fails_verification(
    several: Bundle, tmp_path: Path
) -> None:
    shutil.copytree(several.path, tmp_path / "w.splitc")
    bundle = Bundle.open(tmp_path / "w.splitc")
    path = bundle.path / "tail-x2" / "weights.bin"
    path.write_bytes(bytes(path.stat().st_size))
    edit(bundle.path / "tail-x2", lambda m: m["files"].update(
        {"weights.bin": {"bytes": path.stat().st_size, "sha256": sha256(path)}}))  # fmt: skip
    rehash(bundle)
    found = Bundle.open(bundle.path).verify()
    assert not found.passed
    assert not found.others["tail-x2"][0].within(found.tolerance)
    assert found.others["tail-x4"][0].within(found.tolerance)


def sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_parts_with_the_same_weights_share_them_on_disk(several: Bundle) -> None:
    paths = [several.path / name / "weights.bin" for name in ("tail", "tail-x2", "tail-x4")]
    same = [path for path in paths if sha256(path) == sha256(paths[0])]
    assert len(same) > 1
    assert len({path.stat().st_ino for path in same}) == 1


def test_neither_changes_what_head_and_tail_are(several: Bundle, compiled: Bundle) -> None:
    assert several.manifest.split == compiled.manifest.split
    assert several.manifest.route.parts == ("head", "tail")
    for name in ("head", "tail"):
        assert several.part(name) == compiled.part(name)


def no_single(m: dict[str, Any]) -> None:
    m["parts"]["tail"].update(segment="other")


def three_frames(m: dict[str, Any]) -> None:
    m["parts"]["tail-x2"].update(batch=3)


def route_of_many(m: dict[str, Any]) -> None:
    m["routes"][0]["runs"].update(server=["tail-x2"])


def no_frames(m: dict[str, Any]) -> None:
    m["parts"]["tail-x2"].update(batch=0)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (no_single, "needs no 'tail-x2'"),
        (three_frames, "tail-x2 takes or makes something else"),
        (route_of_many, "a route runs 'tail-x2'"),
        (no_frames, "takes 0 frames a call"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(
    several: Bundle, damage: Any, why: str, tmp_path: Path
) -> None:
    shutil.copytree(several.path, tmp_path / "w.splitc")
    edit(tmp_path / "w.splitc", damage)
    with pytest.raises(BadBundleError, match=why):
        Bundle.open(tmp_path / "w.splitc").check()


def mixing(op: str, **attributes: Any) -> Any:
    """A network whose second half works across the samples of a batch, in their own shape."""
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"], "tanh"),
        helper.make_node(op, ["t"], ["m"], "mix", **attributes),
        helper.make_node("Relu", ["m"], ["y"], "relu"),
    ]
    return model_of(nodes, {"x": [2, 6]}, ["y"])


def test_a_layer_across_frames_of_the_same_shape_is_found_by_running_it(tmp_path: Path) -> None:
    path = save(mixing("Softmax", axis=0), tmp_path / "mix.onnx")
    with pytest.raises(BadModelError, match="cannot take 2 frames a call") as caught:
        splitc.compile(path, cut="tanh", emit="onnx", batch_sizes=[2], output=tmp_path / "m.splitc")
    assert "a layer mixes them" in caught.value.why
    assert not (tmp_path / "m.splitc").exists()


def test_a_layer_that_loses_the_frames_is_named(tmp_path: Path, capsys: Capture) -> None:
    path = save(mixing("ReduceMean", axes=[0]), tmp_path / "mix.onnx")
    line = ["compile", str(path), "--cut", "tanh", "--emit", "onnx", "-o", str(tmp_path / "m")]
    assert run([*line, "--batch", "1,4"]) == 3
    printed = capsys.readouterr().err
    assert "the tail cannot take 4 frames a call" in printed
    assert "layer 'mix' (ReduceMean)" in printed
    assert "leave --batch out" in printed
    assert run([*line]) == 0


@pytest.mark.parametrize("text", ["0", "1,2,2", "257", "two", "1,,2", "-1"])
def test_batch_sizes_that_are_none_are_refused(
    text: str, small_onnx: Path, tmp_path: Path, capsys: Capture
) -> None:
    line = ["compile", str(small_onnx), "-o", str(tmp_path / "o"), f"--batch={text}"]
    assert run(line) == 2
    assert "batch" in capsys.readouterr().err
    with pytest.raises(UsageError, match="not in 1 to 256"):
        splitc.compile(small_onnx, batch_sizes=[0], output=tmp_path / "o")


def test_the_command_line_writes_tells_and_measures_them(
    small_onnx: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = str(tmp_path / "o.splitc")
    line = ["compile", str(small_onnx), "--emit", "onnx", "-o", folder, "--json"]
    assert run([*line, "--batch", "1,2", "--with-whole"]) == 0
    got = json.loads(capsys.readouterr().out)
    assert got["bytes"].keys() == {"head", "tail", "tail-x2", "whole"}
    assert got["check"]["others"].keys() == {"tail-x2", "whole"}
    assert run(["inspect", folder]) == 0
    assert "2 frames a call" in capsys.readouterr().out
    assert run(["bench", folder, "--seconds", "0.01", "--json"]) == 0
    parts = json.loads(capsys.readouterr().out)["parts"]
    assert {name: part["frames"] for name, part in parts.items()} == {
        "head": 1, "tail": 1, "tail-x2": 2, "whole": 1,
    }  # fmt: skip


def test_parts_without_a_runtime_are_checked_all_the_same(
    small_onnx: Path, tmp_path: Path, capsys: Capture
) -> None:
    line = ["compile", str(small_onnx), "--cut", "pool", "-o", str(tmp_path / "n.splitc")]
    more = ["--runtime", "none", "--batch", "2", "--with-whole", "--json"]
    assert run([*line, *more]) == 0
    got = json.loads(capsys.readouterr().out)
    assert got["check"]["others"].keys() == {"tail-x2", "whole"}
    assert not (tmp_path / "n.splitc" / "whole" / "libsplitc.so").exists()
