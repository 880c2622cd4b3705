# SPDX-License-Identifier: Apache-2.0
"""Parts that were compiled before in a process are copied, and are those that would be compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import splitc
from splitc.build.reuse import Reuse
from splitc_targets.backend import TvmBackend
from tests.builds.test_build_all import content


@pytest.fixture
def compiled_for(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The board of each compilation."""
    found: list[str] = []
    compile_part = TvmBackend.compile

    def counted(self: TvmBackend, lowered: Any, board: splitc.Board, limit: Any = None) -> Any:
        found.append(board.name)
        return compile_part(self, lowered, board, limit)

    monkeypatch.setattr(TvmBackend, "compile", counted)
    return found


def test_two_devices_with_one_cut_have_one_tail_and_the_bytes_of_a_build_alone(
    small_onnx: Path, tmp_path: Path, compiled_for: list[str]
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    reuse = Reuse(kept)
    asked: dict[str, Any] = {"model": str(small_onnx), "cut": "block_add"}
    for board in ("rpi4", "rpi5"):
        options = splitc.CompileOptions(target=board, **asked)
        options.build(options.job(options.load()), tmp_path / board, reuse=reuse)
    # Of the second one, the head alone: its tail and its twin are those of the first.
    assert sorted(compiled_for) == ["host", "host", "rpi4", "rpi5"]
    options = splitc.CompileOptions(target="rpi5", **asked)
    alone = options.build(options.job(options.load()), tmp_path / "alone")
    assert content(alone.path) == content(tmp_path / "rpi5")
    assert alone.verify().passed


def test_another_cut_has_another_tail(small_onnx: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    reuse = Reuse(kept)
    for cut in ("block_add", "pool"):
        options = splitc.CompileOptions(model=str(small_onnx), cut=cut, emit="onnx")
        found = options.build(options.job(options.load()), tmp_path / cut, reuse=reuse)
        assert found.verify().passed
    tails = [tmp_path / cut / "tail" / "tail.onnx" for cut in ("block_add", "pool")]
    assert tails[0].read_bytes() != tails[1].read_bytes()
