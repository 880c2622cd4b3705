# SPDX-License-Identifier: Apache-2.0
"""Temporary folders: which disk is full, and what a killed process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import splitc
from splitc.cache import cached
from splitc.errors import OutputError, ToolchainError
from splitc.scratch import PREFIX, owned, scratch, sweep
from splitc_targets.link import toolchain

KILLED = """
import os, signal, sys
from pathlib import Path
from splitc.scratch import owned
with owned(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("written")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def aged(folder: Path) -> Path:
    """A folder as it is an hour later."""
    past = folder.stat().st_mtime - 3600
    os.utime(folder, (past, past))
    return folder


def left_behind(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.name.startswith(PREFIX))


def test_what_a_killed_process_left_is_swept_by_the_next(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    (stale,) = left_behind(tmp_path)
    aged(stale)
    with owned(tmp_path) as folder:
        assert left_behind(tmp_path) == [folder]
    assert left_behind(tmp_path) == []


def test_a_folder_that_is_in_use_fresh_or_not_ours_is_never_swept(tmp_path: Path) -> None:
    fresh = tmp_path / f"{PREFIX}abcdefgh"
    fresh.mkdir()
    others = aged(fresh.rename(tmp_path / f"{PREFIX}abcdefgh.old"))
    fresh.mkdir()
    linked = tmp_path / f"{PREFIX}ijklmnop"
    linked.symlink_to(others)
    with owned(tmp_path) as folder:
        aged(folder)
        sweep(tmp_path)
        assert folder.is_dir()
        assert fresh.is_dir()
        assert others.is_dir()
        assert linked.is_symlink()


def test_outputs_cache_and_temporary_folder_are_swept(
    small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [tmp_path / name for name in ("out", "cache", "tmp")]
    for place in places:
        place.mkdir()
        (place / f"{PREFIX}abcdefgh").mkdir()
        aged(place / f"{PREFIX}abcdefgh")
    monkeypatch.setenv("SPLITC_CACHE_DIR", str(places[1]))
    monkeypatch.setattr("tempfile.tempdir", str(places[2]))
    splitc.compile(small_onnx, cut="stem", emit="onnx", output=places[0] / "b")
    cached("thing", lambda folder: None)
    assert [left_behind(place) for place in places] == [[], [], []]
    assert [path.name for path in places[0].iterdir()] == ["b"]


def test_a_full_temporary_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fill() -> None:
        with scratch():
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ToolchainError, match="temporary files cannot be written") as caught:
        fill()
    assert caught.value.at == str(tmp_path)
    assert "TMPDIR" in caught.value.hint
    assert left_behind(tmp_path) == []


def test_a_full_cache_is_not_blamed_on_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("SPLITC_CACHE_DIR", str(tmp_path))
    with pytest.raises(ToolchainError, match="cache folder cannot be written") as caught:
        cached("runtime/x", fill)
    assert caught.value.at == str(tmp_path / "runtime")
    assert left_behind(tmp_path / "runtime") == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte, where this machine lets us have one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no mount")
    if done.returncode != 0:
        pytest.skip("file systems may not be mounted")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_cannot_hold_the_parts_is_told_before_linking(
    small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs

    def nearly_full(path: Any) -> Any:
        if not str(path).startswith(str(tmp_path)):
            return real(path)
        return os.statvfs_result((4096, 4096, 1000, 300, 300, 10, 10, 10, 0, 255))

    monkeypatch.setattr("os.statvfs", nearly_full)
    with pytest.raises(OutputError, match=r"cannot write '.*b'\n.*No space left"):
        splitc.compile(small_onnx, cut="stem", head="host", output=tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert left_behind(tmp_path) == []


def test_a_small_output_disk_is_refused(small_onnx: Path, small_disk: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write '.*b'\n.*No space left"):
        splitc.compile(small_onnx, cut="stem", head="host", output=small_disk / "b")
    assert list(small_disk.iterdir()) == []


def test_a_full_temporary_disk_is_told_by_its_name(
    small_onnx: Path, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "full").write_bytes(bytes(2**21))
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    with pytest.raises(ToolchainError, match="temporary files cannot be written") as caught:
        splitc.load(small_onnx)
    assert caught.value.at == str(small_disk)
    assert [path.name for path in small_disk.iterdir()] == ["full"]


def test_a_linker_that_has_no_room_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "error: NoSpaceLeft")

    def fail(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        return failed

    def first(*places: Path) -> Path:
        return places[0]

    monkeypatch.setattr(toolchain.subprocess, "run", fail)
    monkeypatch.setattr(toolchain, "full_disk", first)
    with pytest.raises(ToolchainError, match=r"zig's disk is full\n.*\n.*NoSpaceLeft") as caught:
        toolchain.zig("cc", cwd=tmp_path)
    assert caught.value.at == str(tmp_path)
