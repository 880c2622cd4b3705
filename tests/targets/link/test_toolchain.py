# SPDX-License-Identifier: Apache-2.0
"""Cache and zig: what is checked, and what is linked in."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from splitc.cache import cache_dir, cached
from splitc.cost.board import load_board
from splitc.errors import ToolchainError
from splitc_targets.backend import TvmBackend
from splitc_targets.link import toolchain
from splitc_targets.link.elf import undefined_symbols
from splitc_targets.link.toolchain import link_shared, zig, zig_target


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPLITC_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_failed_fill_leaves_no_cache_folder(empty_cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x", "utf-8")
        raise ToolchainError("no luck")

    with pytest.raises(ToolchainError, match="no luck"):
        cached("thing", fail)
    assert list(cache_dir().iterdir()) == []


def test_of_several_at_once_one_fills_the_cache_and_the_others_wait(empty_cache: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        started.wait(10)
        (folder / "whole").write_text("x", "utf-8")

    started = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        found = [pool.submit(cached, "thing", make) for _ in range(3)]
        started.set()
    assert {(one.result() / "whole").read_text("utf-8") for one in found} == {"x"}
    assert len(made) == 1


def test_the_last_words_of_the_linker_are_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "bad.o").write_bytes(b"no object file")
    with pytest.raises(ToolchainError, match="zig failed") as caught:
        toolchain.link_shared(load_board("rpi4"), tmp_path / "out.so", [tmp_path / "bad.o"])
    assert "bad.o" in caught.value.why


SUM = "float sum(const float *x, int n) { float s = 0; while (n--) s += expf(x[n]); return s; }"
WIDE = "__int128 share(__int128 a, __int128 b) { return a / b; }"


@pytest.mark.parametrize("board", ["x86-64-v2", "rpi4"])
def test_code_that_calls_the_c_library_alone_is_linked_without_building_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: str
) -> None:
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(tmp_path / "zig"))
    library = linked("float expf(float);" + SUM, board, tmp_path)
    assert undefined_symbols(library) == {"expf"}
    kept = sum(path.stat().st_size for path in (tmp_path / "zig").rglob("*") if path.is_file())
    assert kept < 1_000_000, "zig built a library of its own"


def test_the_compilers_own_helpers_are_linked_in_where_code_calls_them(tmp_path: Path) -> None:
    assert not undefined_symbols(linked(WIDE, "x86-64-v2", tmp_path))


def linked(source: str, board: str, folder: Path) -> Path:
    (folder / "code.c").write_text(source, "utf-8")
    target = zig_target(load_board(board))
    zig("cc", "-c", "-O2", "-fPIC", "-target", target, "code.c", "-o", "code.o", cwd=folder)
    link_shared(load_board(board), folder / "code.so", [folder / "code.o"])
    return folder / "code.so"


def test_what_is_built_once_is_told_with_the_time_it_takes(empty_cache: Path) -> None:
    board = load_board("host")
    isa, glibc = board.processor.isa, board.processor.glibc
    told = TvmBackend().once(board)
    assert isa in told
    assert "once, about half a minute" in told
    (empty_cache / toolchain.runtime_key(isa, glibc)).mkdir(parents=True)
    assert TvmBackend().once(board) == ""
