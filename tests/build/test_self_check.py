# SPDX-License-Identifier: Apache-2.0
"""`compile` checks itself: nothing that computes something else is written."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import splitc
from splitc.build.compiler import build, plan
from splitc.bundle.bundle import Bundle, require
from splitc.bundle.runnable import runnable_parts
from splitc.bundle.verify import Verification, verify
from splitc.cli.app import run
from splitc.cost.board import host_isa, why_not_here
from splitc.errors import ToolchainError, VerificationError
from tests.helpers import model_of, save, small_network

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
Run = Callable[..., Any]


def altering(monkeypatch: Patch, change: Callable[[list[Any]], list[Any]], part: str) -> None:
    """Alter what one part gives, as code that computes something else would."""
    import splitc.bundle.runnable

    honest = splitc.bundle.runnable.run_part

    def other(folder: Path, *args: Any, **kwargs: Any) -> Any:
        arrays, timing = honest(folder, *args, **kwargs)
        return change(arrays) if folder.name == part else arrays, timing

    monkeypatch.setattr("splitc.bundle.runnable.run_part", other)


def one_channel_off(arrays: list[Any]) -> list[Any]:
    """Half as much again in the first of the classes, which is small."""
    arrays[0] = arrays[0].copy()
    arrays[0][..., 0] *= 1.5
    return arrays


@pytest.mark.parametrize("emit", ["tvm", "onnx"])
@pytest.mark.parametrize("part", ["head", "tail"])
def test_a_part_that_computes_something_else_leaves_no_bundle(
    small_onnx: Path, tmp_path: Path, monkeypatch: Patch, emit: Any, part: str
) -> None:
    altering(monkeypatch, one_channel_off, part)
    with pytest.raises(VerificationError, match="do not compute what the whole") as caught:
        splitc.compile(
            small_onnx, cut="block_add", head="host", emit=emit, output=tmp_path / "o.splitc"
        )
    assert "--no-check" in caught.value.hint
    assert caught.value.exit_code == 7
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_so_and_exits_with_7(
    small_onnx: Path, tmp_path: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    altering(monkeypatch, one_channel_off, "tail")
    target = tmp_path / "o.splitc"
    line = ["compile", str(small_onnx), "--cut", "block_add", "--emit", "onnx", "-o", str(target)]
    assert run(line) == 7
    captured = capsys.readouterr()
    assert "checking it on golden vectors" in captured.err
    assert "result 'y'" in captured.err
    assert not target.exists()
    assert run([*line, "--no-check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["check"] is None
    assert target.is_dir()


def test_the_check_is_printed_with_its_figures(
    small_onnx: Path, tmp_path: Path, capsys: Capture
) -> None:
    line = ["compile", str(small_onnx), "--emit", "onnx", "-o", str(tmp_path / "o.splitc")]
    assert run(line) == 0
    assert "checked: worst error 0.0e+00, tolerance 1e-03, 3 samples" in capsys.readouterr().out
    assert run([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["check"]
    assert (told["passed"], told["samples"]) == (True, 3)
    assert [one["name"] for one in told["outputs"]] == ["y"]


def test_an_older_bundle_is_replaced_only_by_one_that_was_checked(
    small_onnx: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    target = tmp_path / "o.splitc"
    first = splitc.compile(small_onnx, cut="stem", emit="onnx", output=target)
    altering(monkeypatch, one_channel_off, "tail")
    with pytest.raises(VerificationError, match="do not compute"):
        splitc.compile(small_onnx, cut="pool", emit="onnx", output=target)
    assert Bundle.open(target).manifest == first.manifest
    assert [path.name for path in tmp_path.iterdir()] == ["o.splitc"]


def test_parts_that_cannot_run_leave_no_bundle(
    small_onnx: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    honest: Run = subprocess.run

    def dies(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if not command[0].endswith("splitc-run"):
            return honest(command, **options)
        return subprocess.CompletedProcess(command, 6, "", "splitc-run: no function 'topk'\n")

    monkeypatch.setattr("splitc.runtime.process.subprocess.run", dies)
    with pytest.raises(ToolchainError, match="do not run here") as caught:
        splitc.compile(small_onnx, cut="pool", head="host", output=tmp_path / "o.splitc")
    assert "no function 'topk'" in caught.value.why
    assert list(tmp_path.iterdir()) == []


def found_of(job: Any, target: Path, **options: Any) -> tuple[Bundle, Verification]:
    """The bundle of a job, and what the check found."""
    told: list[Verification] = []
    bundle = build(job, output=target, checked=told.append, **options)
    (found,) = told
    return bundle, found


@pytest.mark.parametrize("head", ["host", "rpi4"])
def test_parts_without_a_runtime_are_checked_with_one(
    small_onnx: Path, tmp_path: Path, head: str
) -> None:
    job = plan(small_onnx, cut="pool", head=head)
    bundle, found = found_of(job, tmp_path / "o.splitc", runtime="none")
    require(found)
    assert sorted(path.name for path in (bundle.path / "golden").iterdir()) == [
        "boundary", "inputs", "outputs",
    ]  # fmt: skip
    names = {path.name for path in (bundle.path / "tail").iterdir()}
    assert names == {"LICENSES", "model.so", "weights.bin", "manifest.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["o.splitc"]


def test_head_and_tail_of_another_isa_have_a_twin_each_and_run_emulated(
    small_onnx: Path, tmp_path: Path, qemu: None
) -> None:
    job = plan(small_onnx, cut="block_add", head="rpi4", tail="rpi5")
    bundle, found = found_of(job, tmp_path / "o.splitc")
    ran = ("host build of the rpi4 head", "host build of the rpi5 tail")
    assert [one.how for one in found.ran.values()] == [*ran]
    assert bundle.verify().passed
    emulated = bundle.verify(emulate=True)
    require(emulated)
    assert [one.how for one in emulated.ran.values()] == ["rpi4 under qemu", "rpi5 under qemu"]
    x = np.ones((1, 3, 12, 12), np.float32)
    np.testing.assert_allclose(bundle.run(x)["y"], bundle.run(x, emulate=True)["y"], rtol=1e-5)


@pytest.mark.skipif(host_isa() != "x86_64", reason="needs an x86-64 machine")
def test_a_part_above_this_machines_level_has_a_twin(
    small_onnx: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr("splitc.cost.board.x86_level", lambda: "x86-64-v2")
    job = plan(small_onnx, cut="pool", head="x86-64-v3", tail="x86-64-v2")
    bundle, found = found_of(job, tmp_path / "o.splitc")
    require(found)
    assert found.ran["head"].how == "host build of the x86-64-v3 head"
    assert found.ran["tail"].how == "x86-64-v2"
    assert json.loads((bundle.path / "golden" / "head" / "manifest.json").read_text())["cpu"] == (
        "x86-64-v2"
    )


def test_a_part_that_runs_nowhere_here_says_why(bundle: Bundle) -> None:
    for name in ("model.so", "manifest.json"):
        (bundle.path / "golden" / "head" / name).unlink()
    for path in sorted((bundle.path / "golden" / "head").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (bundle.path / "golden" / "head").rmdir()
    with pytest.raises(ToolchainError, match="cannot start the head") as caught:
        verify(bundle.path, bundle.manifest, runnable_parts(bundle.path, bundle.manifest))
    assert "aarch64" in caught.value.why
    assert "--emulate" in caught.value.hint


@pytest.mark.skipif(host_isa() != "x86_64", reason="needs an x86-64 machine")
def test_what_a_processor_lacks_is_known_as_the_runner_knows_it(monkeypatch: Patch) -> None:
    monkeypatch.setattr("splitc.cost.board._flags", lambda: {"avx2", "avx_vnni"})
    monkeypatch.setattr("splitc.cost.board.x86_level", lambda: "x86-64-v3")
    assert why_not_here("x86_64", "x86-64-v2", ()) == ""
    assert why_not_here("x86_64", "x86-64-v3", ("+avxvnni",)) == ""
    assert "x86-64-v4" in why_not_here("x86_64", "x86-64-v4", ())
    assert "+avx512vnni" in why_not_here("x86_64", "x86-64-v3", ("+avx512vnni",))
    assert "aarch64" in why_not_here("aarch64", "cortex-a72", ())


def test_bundles_with_one_sample_of_no_axis_still_verify(bundle: Bundle) -> None:
    for path in (bundle.path / "golden").glob("*/*.npy"):
        np.save(path, np.load(path)[0])
    found = verify(bundle.path, bundle.manifest, runnable_parts(bundle.path, bundle.manifest))
    require(found)
    assert found.samples == 1


def test_a_sample_on_which_the_network_is_not_finite_is_left_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Abs", ["x"], ["a"], "abs"),
        helper.make_node("Log", ["x"], ["l"], "log"),
        helper.make_node("Add", ["a", "l"], ["y"], "add"),
    ]
    path = save(model_of(nodes, {"x": [2, 5]}, ["y"]), tmp_path / "log.onnx")
    notes: list[str] = []
    bundle = build(plan(path, cut="abs", emit="onnx"), output=tmp_path / "o", note=notes.append)
    assert bundle.verify().samples < 3
    assert any("normal" in note and "'y' has NaN" in note for note in notes)


def test_the_vectors_of_a_large_network_stay_small(tmp_path: Path) -> None:
    node = [helper.make_node("Relu", ["x"], ["r"], "r"), helper.make_node("Abs", ["r"], ["y"], "a")]
    path = save(model_of(node, {"x": [1, 3, 1024, 1024]}, ["y"]), tmp_path / "large.onnx")
    bundle = splitc.compile(path, cut="r", emit="onnx", output=tmp_path / "o.splitc")
    assert bundle.verify().samples == 1


def test_the_same_network_and_seed_give_the_same_vectors(tmp_path: Path) -> None:
    made = [
        splitc.compile(splitc.load(small_network()), emit="onnx", seed=5, output=tmp_path / name)
        for name in ("a.splitc", "b.splitc")
    ]
    first, second = ({n: f for n, f in one.manifest.files.items() if "golden" in n} for one in made)
    assert first == second


@pytest.mark.skipif(host_isa() != "x86_64", reason="a head for ARM is to be a stranger's")
def test_twins_are_named_or_left_out_and_the_check_runs_all_the_same(
    small_onnx: Path, tmp_path: Path, capsys: Capture
) -> None:
    line = ["compile", str(small_onnx), "--cut", "block_add", "--target", "rpi4"]
    kept, left = tmp_path / "kept.splitc", tmp_path / "left.splitc"
    assert run([*line, "-o", str(kept)]) == 0
    shown = capsys.readouterr().out
    assert f"wrote {kept}/golden/head/" in shown
    assert "the head built for this machine too, to check it; --no-twin leaves it out" in shown
    assert f"wrote {kept}/report.html" in shown
    assert run([*line, "--no-twin", "--with-whole", "-o", str(left)]) == 0
    shown = capsys.readouterr()
    assert "checked: worst error" in shown.out
    assert "not checked" not in shown.err
    assert "golden/head" not in shown.out
    assert not any((left / "golden" / name).exists() for name in ("head", "tail", "whole"))
    bundle = Bundle.open(left)
    bundle.check()
    for part in ("head", "tail"):
        assert bundle.part(part).files == Bundle.open(kept).part(part).files
    with pytest.raises(ToolchainError, match="cannot start the head on this machine"):
        bundle.run(np.zeros((1, 3, 12, 12), np.float32))


@pytest.mark.skipif(host_isa() != "x86_64", reason="`host` is for x86-64 machines")
@pytest.mark.parametrize(("target", "in_ci", "warned"), [
    ("host", "true", True), ("host", "", False), ("x86-64-v2", "true", False),
])  # fmt: skip
def test_ci_is_warned_of_bytes_that_depend_on_the_machine(
    small_onnx: Path, monkeypatch: Patch, capsys: Capture, target: str, in_ci: str, warned: bool
) -> None:
    monkeypatch.setenv("CI", in_ci)
    monkeypatch.chdir(small_onnx.parent)
    line = ["compile", str(small_onnx), "--target", "x86-64-v2", "--tail-target", target]
    assert run([*line, "--json"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    cpu = Bundle.open("small.splitc").part("tail").cpu
    found = [note for note in notes if "compiled for this machine, a " in note]
    assert [f"name a target, like {cpu}" in note for note in found] == [True] * warned
