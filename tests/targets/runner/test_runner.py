# SPDX-License-Identifier: Apache-2.0
"""The runner: timings as JSON, refusals in one line, before any code is loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from splitc.bundle.bundle import Bundle
from splitc.runtime.files import file_entry
from splitc.runtime.process import find_emulator


@pytest.fixture
def part(compiled: Bundle, tmp_path: Path) -> Path:
    """A copy of a head that runs on this machine."""
    shutil.copytree(compiled.path / "golden" / "head", tmp_path / "part")
    return tmp_path / "part"


@pytest.fixture
def x(tmp_path: Path) -> Path:
    """One input in contract form."""
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).standard_normal((1, 3, 12, 12)).astype(np.float32))
    return path


def run(part: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part / "splitc-run"), *arguments],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def edit(part: Path, change: Callable[[dict[str, object]], object]) -> None:
    path = part / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), "utf-8")


def test_it_prints_timings_as_one_json_line(part: Path, x: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    done = run(part, "--repeat", "5", "--threads", "1", "--out", str(tmp_path / "out"), str(x))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    report = json.loads(done.stdout)
    assert report["runs"] == 5
    assert report["load_ms"] > 0
    assert report["median_ms"] > 0
    assert report["min_ms"] <= report["median_ms"]
    assert np.load(tmp_path / "out" / "0.npy").shape == (1, 12, 12, 8)


def test_the_arm_runner_checks_and_runs_under_emulation(
    compiled: Bundle, x: Path, tmp_path: Path, qemu: None
) -> None:
    emulator = find_emulator("aarch64")
    head = compiled.path / "head"
    done = subprocess.run(
        [emulator.program, "-L", emulator.sysroot, str(head / "splitc-run"), "--part", str(head),
         str(x)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["part"] == "head"


def test_a_folder_beside_its_files_is_not_the_parts(part: Path, x: Path, tmp_path: Path) -> None:
    (part / "results").mkdir()
    (part / "results" / "evil.so").write_bytes(b"")
    done = run(part, "--out", str(part / "results"), str(x))
    assert done.returncode == 0, done.stderr
    assert (part / "results" / "0.npy").is_file()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (part / "evil.so").symlink_to(elsewhere)
    refused = run(part, str(x))
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "evil.so" in refused.stderr


def flip(part: Path) -> None:
    data = bytearray((part / "model.so").read_bytes())
    data[-100] ^= 255
    (part / "model.so").write_bytes(data)


def no_library(part: Path) -> None:
    (part / "libsplitc.so").unlink()


def extra(part: Path) -> None:
    (part / "evil.so").write_bytes(b"x")


def other_isa(part: Path) -> None:
    edit(part, lambda m: m.update(isa="aarch64"))


def other_cpu(part: Path) -> None:
    edit(part, lambda m: m.update(cpu="x86-64-v9"))


def odd_features(part: Path) -> None:
    edit(part, lambda m: m.update(features=[7]))


def escape(part: Path) -> None:
    edit(part, lambda m: m.update(model="../model.so"))


def not_a_library(part: Path) -> None:
    (part / "model.so").write_bytes(b"not a library")
    entry = file_entry(part / "model.so")
    files = {"bytes": entry.bytes, "sha256": entry.sha256}
    edit(part, lambda m: m["files"].update({"model.so": files}))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("damage", "code", "why"),
    [
        (flip, 3, "model.so"),
        (no_library, 3, "libsplitc.so"),
        (extra, 3, "evil.so"),
        (escape, 3, "../model.so"),
        (other_isa, 6, "aarch64"),
        (other_cpu, 6, "x86-64-v9"),
        (odd_features, 3, "features"),
        (not_a_library, 6, "model.so"),
    ],
)
def test_a_part_that_is_not_right_is_refused_in_one_line(
    part: Path, x: Path, damage: Callable[[Path], None], code: int, why: str
) -> None:
    damage(part)
    done = run(part, str(x))
    assert done.returncode == code
    assert done.stderr.startswith("splitc-run: ")
    assert done.stderr.count("\n") == 1
    assert why in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 3, 12, 11), "float32"), ((1, 3, 12, 12), "float64"), ((), "float32")]
)
def test_an_input_outside_the_contract_is_refused(
    part: Path, tmp_path: Path, shape: tuple[int, ...], dtype: str
) -> None:
    np.save(tmp_path / "bad.npy", np.zeros(shape, dtype))
    done = run(part, str(tmp_path / "bad.npy"))
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--frobnicate"], ["--repeat", "0"], ["--threads", "x"]])
def test_a_wrong_flag_is_a_usage_error(part: Path, arguments: list[str]) -> None:
    done = run(part, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("splitc-run: ")


def test_it_needs_no_library_but_libc(part: Path) -> None:
    readelf = shutil.which("readelf")
    if readelf is None:
        pytest.skip("readelf is not installed")
    listed = subprocess.run(
        [readelf, "-d", str(part / "splitc-run")], capture_output=True, text=True, check=True
    ).stdout
    needed = {line.split("[")[1].rstrip("]") for line in listed.splitlines() if "NEEDED" in line}
    allowed = {"libc.so.6", "libdl.so.2", "libpthread.so.0", "libm.so.6", "ld-linux-x86-64.so.2"}
    assert needed <= allowed
