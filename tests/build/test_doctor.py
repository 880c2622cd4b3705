# SPDX-License-Identifier: Apache-2.0
"""`splitc doctor` names what a machine lacks and what to do about it."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from splitc.build.doctor import Check, diagnose, receive_buffer
from splitc.cli.app import run
from splitc.net.sockets import BUFFER_BYTES, Buffers
from splitc_targets.link import toolchain


@pytest.mark.parametrize("got", [BUFFER_BYTES, 212_992])
def test_a_small_receive_buffer_is_no_fault_and_its_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, got: int
) -> None:
    def ask(of: socket.socket, nbytes: int) -> Buffers:
        return Buffers(nbytes, got, got)

    monkeypatch.setattr(Buffers, "ask", staticmethod(ask))
    check = receive_buffer()
    assert not check.needed
    assert check.ok == (got == BUFFER_BYTES)
    assert check.hint == ("" if check.ok else Buffers(BUFFER_BYTES, got, got).warning)


def test_this_machines_buffer_is_among_what_is_looked_at() -> None:
    found = {check.name: check for check in diagnose()}
    assert isinstance(found["receive buffer"], Check)
    assert found["python"].ok


@pytest.mark.slow
def test_what_the_first_compile_builds_is_looked_for_and_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = {isa: toolchain.runtime(isa, "2.28").runner.parent for isa in ("aarch64", "x86_64")}
    monkeypatch.setenv("SPLITC_CACHE_DIR", str(tmp_path))
    toolchain.runtime.cache_clear()
    before = {check.name: check for check in diagnose()}
    for isa in built:
        assert not before[f"runner {isa}"].ok
        assert not before[f"runner {isa}"].needed
        assert "--fetch" in before[f"runner {isa}"].hint
    assert run(["doctor"]) == 0
    last = capsys.readouterr().out.replace("\n", " ")
    assert "ready to compile, after building: runner aarch64, runner x86_64 (splitc" in last
    # All but one is there: what is left is built, and nothing else.
    kept = built["x86_64"]
    shutil.copytree(kept, tmp_path / "runner" / kept.name)
    assert run(["doctor", "--fetch", "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.err.splitlines() == ["splitc: building the runner aarch64"]
    found = {each["name"]: each for each in json.loads(shown.out)["checks"]}
    for isa in built:
        assert found[f"runner {isa}"]["found"] == "built, for glibc 2.28"
    made = tmp_path / "runner" / built["aarch64"].name / toolchain.RUNNER
    assert made.read_bytes() == (built["aarch64"] / toolchain.RUNNER).read_bytes()
    toolchain.runtime.cache_clear()


@pytest.mark.parametrize(
    ("variable", "name"),
    [("SPLITC_CACHE_DIR", "cache"), ("ZIG_GLOBAL_CACHE_DIR", "zig's cache")],
)
def test_a_cache_that_cannot_be_written_is_not_ready(
    variable: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv(variable, str(tmp_path / "taken" / "cache"))
    assert run(["doctor", "--json"]) == 6
    found = json.loads(capsys.readouterr().out)
    (lacks,) = [each for each in found["checks"] if each["name"] == name]
    assert not found["ready"]
    assert variable in lacks["hint"]
    assert run(["doctor"]) == 6
    assert capsys.readouterr().out.endswith("not ready to compile\n")


def test_a_zig_that_does_not_start_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(toolchain.sys, "executable", "/bin/false")
    assert run(["doctor", "--json"]) == 6
    (lacks,) = [
        each for each in json.loads(capsys.readouterr().out)["checks"] if each["name"] == "ziglang"
    ]
    assert "does not run here" in lacks["hint"]


def test_fetching_and_measuring_a_link_are_two_things(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--fetch", "--link", "127.0.0.1:9"]) == 2
    assert "--fetch and --link" in capsys.readouterr().err
