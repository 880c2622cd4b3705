# SPDX-License-Identifier: Apache-2.0
"""A stranger's pack, installed as a distribution of its own for a test."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from splitc import plugins
from splitc.cost import board

METADATA = "Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n"
ENTRY_POINT = "[splitc.plugins]\nstranger = stranger:PLUGIN\n"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the pack is installed in, which Python looks into first."""
    site = tmp_path / "site"
    shutil.copytree(Path(__file__).parent / "stranger", site / "stranger")
    info = site / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA, "utf-8")
    (info / "entry_points.txt").write_text(ENTRY_POINT, "utf-8")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    importlib.invalidate_caches()
    _forget()
    yield site
    for name in [name for name in sys.modules if name.split(".")[0] == "stranger"]:
        del sys.modules[name]
    _forget()


def _forget() -> None:
    plugins.forget()
    board.boards.cache_clear()
