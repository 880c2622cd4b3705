# SPDX-License-Identifier: Apache-2.0
"""splitc where it is installed: on the lowest and the newest releases of what it needs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.packaging.conftest import done, uv

CORE = ("apache-tvm", "numpy", "onnx", "onnxruntime", "ziglang")


def environment(folder: Path, *arguments: str | Path) -> Path:
    """The programs of a new environment with that installed; it has no pip, as uv makes it."""
    uv("venv", "--quiet", "--python", sys.executable, "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    uv("pip", "install", "--quiet", "--python", python, *arguments, cwd=folder)
    return python.parent


def told(programs: Path, folder: Path) -> str:
    """The releases that a test ran on."""
    listed = uv("pip", "list", "--format", "json", "--python", programs / "python", cwd=folder)
    names = {each["name"]: each["version"] for each in json.loads(listed)}
    assert not {"pip", "torch"} & set(names)
    return ", ".join(f"{name} {names[name]}" for name in CORE)


def use(programs: Path, folder: Path) -> None:
    """Cuts, compiles for two backends and verifies a small network."""
    splitc = programs / "splitc"
    assert json.loads(done(splitc, "cuts", "small.onnx", "--json", cwd=folder))["cuts"]
    done(splitc, "compile", "small.onnx", "--target", "rpi4", cwd=folder)
    assert "verified: worst" in done(splitc, "verify", "small.splitc", cwd=folder)
    done(splitc, "compile", "small.onnx", "--emit", "onnx", "-o", "onnx.splitc", cwd=folder)
    assert "verified: worst" in done(splitc, "verify", "onnx.splitc", cwd=folder)
    assert "ready to compile" in done(splitc, "doctor", cwd=folder)


@pytest.mark.parametrize("which", ["lowest", "newest"])
def test_the_wheel_works_on_the_lowest_and_newest_releases_it_takes(
    which: str, wheel: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lowest = ("--constraint", ROOT / "constraints-min.txt")
    programs = environment(place, *(lowest if which == "lowest" else ("--upgrade",)), wheel)
    use(programs, place)
    with capsys.disabled():
        print(f"\n{which}: {told(programs, place)}")


def test_the_sdist_installs_by_the_locked_hashes(built: Path, place: Path) -> None:
    programs = environment(place, "--require-hashes", "-r", ROOT / "requirements.lock")
    sdist = next(built.glob("*.tar.gz"))
    uv("pip", "install", "--quiet", "--no-deps", "--python", programs / "python", sdist, cwd=place)
    assert "splitc 0." in done(programs / "splitc", "--version", cwd=place)
    assert json.loads(done(programs / "splitc", "inspect", "small.onnx", "--json", cwd=place))


def test_uv_tool_install_makes_the_program(place: Path) -> None:
    uv(
        "tool", "install", "--quiet", "--python", sys.executable, ROOT, cwd=place,
        UV_TOOL_DIR=str(place / "tools"), UV_TOOL_BIN_DIR=str(place / "bin"),
    )  # fmt: skip
    assert "rpi4" in done(place / "bin" / "splitc", "targets", cwd=place)
