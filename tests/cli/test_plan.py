# SPDX-License-Identifier: Apache-2.0
"""`splitc plan --conditions`: its tables, its object, its file, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from splitc.bundle.bundle import Bundle
from splitc.cli.app import run
from splitc.cli.schema import schema_of
from splitc.frontend import load
from splitc.policy import LinkState, Option, Policy
from splitc.search.plan_file import read_plan
from tests.helpers import save, small_network

GRID = 'cpu = [0.0, 0.5, 0.9]\nbandwidth = ["10Gbit", "1Mbit"]\n'


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid.toml").write_text(GRID, "utf-8")
    return save(small_network(size=128), tmp_path / "small.onnx")


def plan(model: Path, *options: str) -> int:
    return run(["plan", str(model), "--tail-target", "x86-64-v3", "--no-simplify", *options])


def test_tables_fit_80_columns(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(model, "--conditions", "grid.toml", "-o", "plan.json", "--all") == 0
    out = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80
    assert "2 of 2 changes of bandwidth move the best cut" in out
    assert "CPU stress" in out
    assert "modelled" in out
    assert "predicted from splitc's kernels on rpi4, calibrated by ncnn's times (head)" in out
    assert "Wrote plan.json: splitc compile --plan plan.json" in out


def test_the_file_says_the_route_of_every_condition(model: Path) -> None:
    assert plan(model, "--conditions", "grid.toml", "-o", "plan.json", "--routes", "2") == 0
    written = read_plan(Path("plan.json"))
    assert written.model.sha256 == load(str(model)).digest
    assert written.figures.startswith("predicted")
    assert 1 <= len(written.routes) <= 2
    assert len(written.conditions) == 6
    for one in written.conditions:
        assert {*one.latency_s} == {route.name for route in written.routes}
        assert one.latency_s[one.route] == min(one.latency_s.values())
    assert not Path("plan.json.partial").exists()


def test_a_bundle_and_a_policy_are_made_of_a_plan(model: Path) -> None:
    assert plan(model, "--conditions", "grid.toml", "--target", "host", "-o", "plan.json") == 0
    written = read_plan(Path("plan.json"))
    assert len(written.routes) > 1
    boards = ("--target", "host", "--tail-target", "x86-64-v3", "--emit", "onnx", "--quiet")
    assert run(["compile", str(model), "--no-simplify", "--plan", "plan.json", *boards]) == 0
    bundle = Bundle.open("small.splitc")
    names = [route.name for route in bundle.manifest.routes]
    assert names == [route.name for route in written.routes]
    remotes = bundle.part("head-s0").remote
    options = [Option.of(remote, 1400) for remote in remotes]
    for one in written.conditions:
        if one.cpu == 0.0:
            chooser = Policy.parse("plan.json").start(options)
            seen = LinkState(bandwidth_bps=one.bandwidth_bps)
            # What is wanted for long enough is taken.
            assert [chooser.route(seen, now) for now in (0.0, 100.0)][-1] == one.route


def test_programs_get_an_object_of_the_published_schema(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(model, "--conditions", "grid.toml", "--json", "--switch-cost", "2s") == 0
    found: Any = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, schema_of("plan"))
    assert next(iter(found)) == "schema"
    assert found["switch_cost_s"] == 2.0
    assert found["file"] is None
    assert len(found["conditions"]) == 6
    for one in found["transitions"]["bandwidth"]:
        saved_s = (one["kept_ms"] - one["best_ms"]) / 1e3
        frames = one["break_even_frames"]
        assert (frames is None) == (saved_s <= 0)
        assert frames is None or (frames - 1) * saved_s < 2.0 <= frames * saved_s + 1e-9


def refused(model: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, Any]:
    code = plan(model, "--json", *options)
    return code, json.loads(capsys.readouterr().out)


def test_bad_input_gets_a_named_error(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("grid.toml").write_text("bandwidth = [10]", "utf-8")
    code, error = refused(model, capsys, "--conditions", "grid.toml")
    assert (code, error["error"]) == (2, "UsageError")
    assert "has no unit" in error["what"]
    code, error = refused(model, capsys, "--min-depth", "99")
    assert (code, error["error"]) == (5, "NoLegalCutError")
    code, error = refused(model, capsys, "--resume")
    assert (code, error["what"]) == (2, "--resume needs -o")
    code, error = refused(model, capsys, "--within", "50ms")
    assert (code, error["what"]) == (2, "--within needs --tested")
    code, error = refused(model, capsys, "--tested", "t.json", "--conditions", "grid.toml")
    assert (code, error["what"]) == (2, "these are two plans")
    code, error = refused(model, capsys, "--measure")
    assert (code, error["what"]) == (2, "--measure needs -o")
    code, error = refused(model, capsys, "--measure", "-o", "plan.json", "--frames", "0")
    assert (code, error["what"]) == (2, "--frames 0")
    code, error = refused(model, capsys, "--measure", "-o", "plan.json")
    assert (code, error["what"]) == (2, "'rpi4' cannot be measured here")
    assert not Path("plan.json.partial").exists()
    code, error = refused(model, capsys, "-o", "none/plan.json")
    assert (code, error["error"]) == (2, "OutputError")


def test_the_unfinished_sweep_of_another_model_is_refused(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("splitc.sweep.run.plan_for_conditions", stop)
        assert plan(model, "--conditions", "grid.toml", "-o", "plan.json") == 130
    assert "the same command with --resume goes on" in capsys.readouterr().err
    other = save(small_network(seed=1, size=128), model.with_name("other.onnx"))
    options = ("--conditions", "grid.toml", "-o", "plan.json", "--resume")
    code, error = refused(other, capsys, *options)
    assert code == 2
    assert "it is of the model" in error["why"]
    assert plan(model, *options) == 0
    assert read_plan(Path("plan.json")).conditions


def test_a_cluster_without_ray_says_what_to_install(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    code, error = refused(model, capsys, "--ray", "auto")
    assert (code, error["error"]) == (6, "ToolchainError")
    assert "splitc[ray]" in error["hint"]
