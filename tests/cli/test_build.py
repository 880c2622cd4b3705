# SPDX-License-Identifier: Apache-2.0
"""`splitc build`: what it prints, its exit codes, and the file beside defaults of other verbs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from splitc.cli.app import run
from splitc.cli.schema import schema_of
from tests.helpers import save, small_network

Capture = pytest.CaptureFixture[str]

FILE = """
link = "lte"

[cuts]
objective = "energy"

[build]
jobs = 1

[[bundle]]
model = "a.onnx"
target = ["rpi4", "rpi5"]
emit = "onnx"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    save(small_network(), tmp_path / "a.onnx")
    (tmp_path / "splitc.toml").write_text(FILE)
    return tmp_path


def as_json(capsys: Capture, *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["build", *arguments, "--json"]) == code
    got = json.loads(capsys.readouterr().out)
    jsonschema.validate(got, schema_of("build"))
    return got


def test_the_file_is_built_once_and_shown_as_a_table(home: Path, capsys: Capture) -> None:
    assert run(["build"]) == 0
    captured = capsys.readouterr()
    rows = captured.out.splitlines()
    assert max(map(len, rows)) <= 80
    assert [row.split()[0] for row in rows] == ["bundle", "a-rpi4.splitc", "a-rpi5.splitc", "2"]
    assert rows[-1] == "2 built"
    assert "splitc: a-rpi4.splitc: built in" in captured.err

    got = as_json(capsys)
    assert (got["built"], got["current"]) == (0, 2)
    _, first = got["bundles"]
    assert first["options"] == {
        "model": "a.onnx", "target": "rpi5", "emit": "onnx", "link": "lte"
    }  # fmt: skip
    assert first["digest"] is not None and first["boundary_bytes"] > 0
    assert run(["build", "--print-key"]) == 0
    assert capsys.readouterr().out == got["key"] + "\n"


def test_networks_are_built_with_flags_and_where_they_are_wanted(
    home: Path, capsys: Capture
) -> None:
    save(small_network(1), home / "b.onnx")
    given = ["a.onnx", "b.onnx", "--emit", "onnx", "-t", "rpi5", "-o", "out/{model}-{target}"]
    got = as_json(capsys, *given, "--dry-run")
    assert [one["output"] for one in got["bundles"]] == ["out/a-rpi5", "out/b-rpi5"]
    assert {one["state"] for one in got["bundles"]} == {"planned"}
    assert run(["build", *given, "-n"]) == 0
    assert "2 to build" in capsys.readouterr().out
    assert not (home / "out").exists()


def test_a_network_that_is_not_cut_is_shown_on_its_side(capsys: Capture) -> None:
    got = as_json(capsys, "a.onnx", "--emit", "onnx", "--cut", "device", "-o", "whole.splitc")
    assert [one["cut"] for one in got["bundles"]] == ["device"]


def test_what_fails_is_named_and_the_exit_code_is_its_own(home: Path, capsys: Capture) -> None:
    (home / "bad.onnx").write_bytes(b"no network")
    given = ["a.onnx", "bad.onnx", "none.onnx", "--emit", "onnx"]
    assert run(["build", *given]) == 3
    captured = capsys.readouterr()
    assert "1 built, 2 failed" in captured.out
    assert "bad.splitc: BadModelError:" in captured.err
    assert "none.splitc: UsageError: there is no file" in captured.err
    got = as_json(capsys, *given, code=3)
    assert [one["state"] for one in got["bundles"]] == ["current", "failed", "failed"]
    assert got["bundles"][1]["failure"]["exit_code"] == 3
    assert run(["build", *given, "--print-key"]) == 2
    assert "none.splitc" in capsys.readouterr().err


def test_pruning_leaves_in_the_cache_what_this_build_asked_for(home: Path) -> None:
    def kept() -> set[str]:
        return {one.name for one in (home / "cache").glob("??/*")}

    given = ["a.onnx", "--emit", "onnx", "--cache", "cache"]
    assert run(["build", *given, "-t", "rpi4"]) == 0
    first = kept()
    (home / "cache" / "notes.txt").write_text("mine")
    assert run(["build", *given, "-t", "rpi5", "--dry-run", "--prune"]) == 0
    assert kept() == first
    assert run(["build", *given, "-t", "rpi5", "--prune"]) == 0
    assert len(kept()) == 1
    assert not kept() & first
    assert (home / "cache" / "notes.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["splitc.toml", "--target", "rpi5"], "--target and a file"),
        (["a.onnx", "--prune"], "--prune without a cache"),
        (["splitc.toml", "a.onnx"], "one file, or networks"),
        (["a.onnx", "a.onnx"], "two bundles would be written"),
        (["a.onnx", "-o", "{modle}"], "did you mean 'model'"),
        (["none.toml"], "cannot read 'none.toml'"),
    ],
)
def test_mistakes_are_told(arguments: Sequence[str], says: str, capsys: Capture) -> None:
    assert run(["build", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_gates_are_held_against_every_bundle_and_leave_it_there(
    home: Path, capsys: Capture
) -> None:
    (home / "splitc.toml").write_text(FILE + 'fail-on = ["boundary_bytes>1", "head_ms>1e6"]\n')
    assert run(["build", "--fail-on", "tail_ms>1e6"]) == 9
    out = capsys.readouterr().out
    assert "gate boundary_bytes>1 FAILS: a-rpi4.splitc: boundary_bytes is" in out
    assert out.splitlines()[-1] == "2 built; 4 of 6 gates hold"
    got = as_json(capsys, code=9)
    assert [one["state"] for one in got["bundles"]] == ["current", "current"]
    assert [one["passed"] for one in got["bundles"][0]["gates"]] == [False, True]
    (home / "splitc.toml").write_text(FILE + 'fail-on = "boundary_byte>1"\n')
    assert run(["build"]) == 2
    assert "did you mean 'boundary_bytes'" in capsys.readouterr().err


def test_tables_of_bundles_are_no_defaults_and_a_misspelled_one_is_told(
    home: Path, capsys: Capture
) -> None:
    assert run(["cuts", "a.onnx", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["objective"] == "energy"
    (home / "splitc.toml").write_text('[[bundel]]\nmodel = "a.onnx"\n')
    assert run(["build"]) == 2
    assert "unknown option 'bundel'" in capsys.readouterr().err


def test_a_second_run_imports_neither_onnx_nor_tvm(home: Path) -> None:
    code = (
        "import sys; from splitc.cli.app import run; code = run(['build', '-q'])\n"
        "print(code, [m for m in ('onnx', 'tvm', 'torch', 'onnxruntime') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    subprocess.run(command, check=True, capture_output=True)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_ctrl_c_leaves_no_half_written_bundle_and_no_process(home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "splitc", "build", "--force", "--jobs", "2"],
        cwd=home, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    until_s = time.monotonic() + 60
    while not list(home.glob(".splitc-tmp-*")) and time.monotonic() < until_s:
        time.sleep(0.005)
    os.killpg(process.pid, 2)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 130), said
    assert not list(home.glob(".splitc-tmp-*"))
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
