# SPDX-License-Identifier: Apache-2.0
"""What the verbs say of a bundle with several routes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import splitc
from splitc.bundle.bundle import Bundle
from splitc.cli.app import run

Capture = pytest.CaptureFixture[str]
ROUTES = ["stem_relu", "stem_relu:8bit", "block_add", "block_add:8bit"]


def printed(line: list[str], capsys: Capture) -> list[str]:
    """What a verb says; it succeeds, and every line fits a terminal of 80 columns."""
    assert run(line) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(each.rstrip()) <= 80 for each in lines if "sha256" not in each)
    return lines


def test_inspect_and_verify_tell_of_every_route(routed: Bundle, capsys: Capture) -> None:
    lines = printed(["inspect", str(routed.path)], capsys)
    assert lines[0] == "small, 4 routes"
    table = [line[2:].split()[0] for line in lines if line[:2] in ("  ", "▸ ") and "kB" in line]
    assert [name for name in table if name in ROUTES] == ROUTES
    assert "block_add: device head-s0, head-s1; server tail-s2" in lines
    lines = printed(["verify", str(routed.path), "-q"], capsys)
    told = [line for line in lines if line.startswith("route ")]
    assert [line.split()[1].removesuffix(":") for line in told] == ROUTES
    assert all("same arg-max" in line for line in told)
    assert run(["verify", str(routed.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["routes"]) == ROUTES
    assert all(one["passed"] for one in found["routes"].values())


def test_compile_shows_the_routes(small_onnx: Path, tmp_path: Path, capsys: Capture) -> None:
    values = np.random.default_rng(0).standard_normal((4, 1, 3, 12, 12)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=values)
    line = ["compile", str(small_onnx), "--cuts", "stem_relu,block_relu+block_add", "--bits", "8"]
    line += ["--calibrate", str(tmp_path / "x.npz"), "--emit", "onnx", "-o", str(tmp_path / "o")]
    assert run([*line, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["routes"]] == ROUTES
    assert {one["agreement"] for one in found["routes"]} == {1.0}
    assert found["routes"][1]["runs"]["device"] == ["head-s0", "head-enc1"]
    assert run(line) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[2:].split()[0] for line in lines if "100.0%" in line] == ROUTES[1::2]


def test_the_next_steps_of_an_arm_bundle_name_its_heads_at_once(
    small_onnx: Path, tmp_path: Path, capsys: Capture
) -> None:
    bundle = splitc.compile(
        small_onnx, cuts=["stem_relu", "block_add"], head="rpi4", output=tmp_path / "arm.splitc"
    )
    assert run(["verify", str(bundle.path)]) == 0
    told = capsys.readouterr().out
    assert "(the real head-s0 and head-s1, under qemu)" in told
    assert f"scp -r {bundle.path}/head-* pi@raspberrypi:" in told


def test_run_takes_a_route(routed: Bundle, tmp_path: Path, capsys: Capture) -> None:
    np.save(tmp_path / "x.npy", np.ones((1, 3, 12, 12), np.float32))
    line = ["run", str(routed.path), "-i", str(tmp_path / "x.npy"), "--json"]
    assert run([*line, "--route", "stem_relu:8bit"]) == 0
    parts = json.loads(capsys.readouterr().out)["parts"]
    assert list(parts) == ["head-s0", "head-enc1", "tail-dec1", "tail-s1", "tail-s2"]
    assert run([*line, "--route", "stem"]) == 2
    assert "there is no route 'stem'" in capsys.readouterr().out


def test_bench_measures_every_route_or_one(routed: Bundle, capsys: Capture) -> None:
    line = ["bench", str(routed.path), "--seconds", "0.01"]
    lines = printed(line, capsys)
    assert [text.split()[1] for text in lines if text.startswith("route ")] == ROUTES
    assert run([*line, "--json", "--route", "block_add"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["parts"]) == ["head-s0", "head-s1", "tail-s2"]
    assert list(found["routes"]) == ["block_add"]
    assert found["route"] == found["routes"]["block_add"]
