# SPDX-License-Identifier: Apache-2.0
"""The probe, for this machine and for an ARM board, built once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splitc.errors import ToolchainError
from tests.once import once
from tests.targets.runner.probe import Probe, build_probe


@pytest.fixture(scope="session", params=["host", "rpi4"])
def probe(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Probe]:
    """The runner's C++, asked from Python."""
    board: str = request.param

    def make(folder: Path) -> None:
        build_probe(board, folder / "probe")

    try:
        made = Probe(board, once(tmp_path_factory, f"probe-{board}", make) / "probe")
    except ToolchainError as error:
        pytest.skip(str(error))
    with made:
        yield made
